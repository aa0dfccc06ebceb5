"""The commands that train: demo, train, compare, sweep."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from jsonargparse import Namespace
from lightning.fabric.utilities.rank_zero import rank_zero_only

import lossmaxpool.training
from lossmaxpool.cli.arguments import OWN
from lossmaxpool.options import DataConfig, ModelConfig
from lossmaxpool.report import format_table, write_report
from lossmaxpool.report.sweep import sweep_table, write_sweep
from lossmaxpool.runs import TrainingError
from lossmaxpool.runs.config import (
    HardwareConfig,
    OptimizationConfig,
    ReportingConfig,
    SamplingConfig,
    TrainConfig,
)
from lossmaxpool.runs.methods import DEFAULT_METHODS, method_names
from lossmaxpool.training.sweep import Grid, plan
from lossmaxpool.training.tuning import tuning_table

REPORT = "report.html"
# A t-interval of two seeds needs a gain of nine standard deviations to exclude zero, of four 1.6.
SEEDS = (0, 1, 2, 3)


def demo(options: Namespace) -> None:
    """Train, report, print the table."""
    out = first_unfinished(options.out)
    folders = lossmaxpool.training.compare(
        configuration(options.steps), DEFAULT_METHODS, SEEDS, out, jobs=2, resume="auto"
    )
    _report(folders, out)


def configuration(steps: int) -> TrainConfig:
    """Return a run of the demo, which one core finishes in about forty seconds."""
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
    """Return ``out``, or ``out-2``, ``out-3``, ... where it holds a finished demo already."""
    numbered = (out if k == 1 else out.with_name(f"{out.name}-{k}") for k in count(1))
    return next(folder for folder in numbered if not (folder / REPORT).exists())


def train(options: Namespace) -> None:
    """Train, then print the table of the run."""
    if options.method is None:
        raise TrainingError(
            f"no method: give --method, one of {', '.join(method_names(options.losses))}; "
            "lossmaxpool compare trains several"
        )
    config = TrainConfig(**{key: options[key] for key in TrainConfig.__dataclass_fields__})
    lossmaxpool.training.train(config, options.out, resume=options.resume)
    rank_zero_only(_show)(options.out)


def _show(out: Path) -> None:
    sys.stdout.write(f"\n{format_table([out])}\n\n{out}\n")


def compare(options: Namespace) -> None:
    """Train the missing runs, write the report and print the table."""
    if options.tune_steps is not None and not options.tune_lr:
        raise ValueError("--tune_steps has no effect without --tune-lr: give both, or neither")
    folders = lossmaxpool.training.compare(
        shared_config(options),
        options.methods,
        options.seeds,
        options.out,
        jobs=options.jobs,
        engine=options.engine,
        resume=options.resume,
        tune_lr=options.tune_lr,
        tune_steps=options.tune_steps,
    )
    _report(folders, options.out)


def _report(folders: Sequence[Path], out: Path) -> None:
    """Write the report of a comparison, and print its tables."""
    report = write_report(folders, out)
    rates = tuning_table(out)
    sys.stdout.write(f"\n{format_table(folders)}\n\n{rates}{rates and chr(10) * 2}{report}\n")


def sweep(options: Namespace) -> None:
    """Train the missing runs, then write and print the results."""
    config, out = shared_config(options), options.out
    grid = Grid(
        options.methods,
        [config.loss.p] if options.p is None else options.p,
        [config.loss.min_support] if options.min_support is None else options.min_support,
        options.seeds,
    )
    if options.dry_run and options.engine != "local":
        raise ValueError("--dry-run prints commands for any machine: leave out --engine")
    folders = lossmaxpool.training.sweep.sweep(
        config,
        grid,
        out,
        jobs=options.jobs,
        engine=options.engine,
        resume=options.resume,
        dry_run=options.dry_run,
    )
    if options.dry_run:
        sys.stdout.writelines(f"{command(*each, options)}\n" for each in plan(config, grid, out))
        return
    write_sweep(folders, out)
    sys.stdout.write(f"\n{sweep_table(folders)}\n\n{out}\n")


def shared_config(options: Namespace) -> TrainConfig:
    """Return what the runs share; its method and seed mean nothing."""
    shared = TrainConfig.__dataclass_fields__.keys() - OWN
    return TrainConfig(**{key: options[key] for key in shared})


def command(config: TrainConfig, folder: object, options: Namespace) -> str:
    """Return the words that train one run by itself; they may be run again."""
    words = ["lossmaxpool", "train", "--config", str(options.out / "shared.yaml")]
    words += ["--method", config.method, "--seed", str(config.seed)]
    if config.chosen.max_pooled:
        words += ["--loss.p", f"{config.loss.p!r}"]
        words += ["--loss.min_support", f"{config.loss.min_support!r}"]
    return shlex.join([*words, "--out", str(folder), "--resume", "auto"])
