"""Compare loss max-pooling with cross-entropy on embedded street scenes, in five minutes.

Nothing is downloaded. Cross-entropy, the loss alone and the loss with its sampler train a small
network from random weights on two CPU cores, with four seeds each; the table and the report say
which classes gained, whichever method wins.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from jsonargparse import Namespace

from lossmaxpool.cli.compare import compare_and_report
from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.data import DataConfig
from lossmaxpool.models import ModelConfig
from lossmaxpool.runs.config import (
    HardwareConfig,
    OptimizationConfig,
    ReportingConfig,
    SamplingConfig,
    TrainConfig,
)
from lossmaxpool.runs.methods import DEFAULT_METHODS

REPORT = "report.html"
# A t-interval of two seeds needs a gain of nine standard deviations to exclude zero, of four 1.6.
SEEDS = (0, 1, 2, 3)


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder of the runs and the report"
    )
    parser.add_argument("--steps", type=int, default=400, help="optimization steps of each run")


def run(options: Namespace) -> None:
    """Train, report, print the table."""
    out = first_unfinished(options.out)
    compare_and_report(
        configuration(options.steps), DEFAULT_METHODS, SEEDS, out, jobs=2, resume="auto"
    )


def configuration(steps: int) -> TrainConfig:
    """Return a run that one core finishes in about forty seconds.

    Args:
        steps: Optimization steps; the learning rate falls to 0 over them.
    """
    return TrainConfig(
        data=DataConfig(name="street-scenes", train_scenes=200, val_scenes=40),
        model=ModelConfig(
            architecture="FPN",
            encoder="tu-test_resnet",
            weights="none",
            decoder_options={
                "decoder_pyramid_channels": 32,
                "decoder_segmentation_channels": 32,
                "decoder_dropout": 0.0,
            },
        ),
        optimization=OptimizationConfig(
            steps=steps,
            batch_size=8,
            crop_size=(96, 128),
            scale_range=(0.75, 1.5),
            # From random weights it learns several times as fast as plain descent.
            optimizer="adamw",
            lr=0.003,
            weight_decay=0.01,
            # Encoder and decoder start from random weights alike.
            head_lr_multiplier=1.0,
            warmup=min(20, steps),
        ),
        # The running IoU of a short run has to follow a network that changes fast.
        sampling=SamplingConfig(update_interval=8, half_life=50.0),
        hardware=HardwareConfig(accelerator="cpu", workers=0, threads=2, cache=True),
        reporting=ReportingConfig(
            eval_every=max(1, steps // 4), checkpoint_every=max(1, steps // 2), log_every=20
        ),
    )


def first_unfinished(out: Path) -> Path:
    """Return ``out``, or ``out-2``, ``out-3``, ... where it holds a finished demo already.

    Args:
        out: The folder that was asked for.
    """
    numbered = (out if k == 1 else out.with_name(f"{out.name}-{k}") for k in count(1))
    return next(folder for folder in numbered if not (folder / REPORT).exists())
