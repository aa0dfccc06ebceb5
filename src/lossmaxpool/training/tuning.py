"""A learning rate for each method, found by all of them on the same small budget.

Methods whose losses differ in scale need different rates, and a comparison at the rate of one of
them is unfair to the others. Each is trained for a few steps at a few rates on a part of the
training split and scored on the rest of it; the validation split is not touched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossmaxpool.atomic import write_atomically
from lossmaxpool.data import DataConfig, Sample, SegmentationDataset
from lossmaxpool.data.sample import MaskFile
from lossmaxpool.runs import NonFiniteLossError, TrainingError
from lossmaxpool.runs.config import TrainConfig
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.sampling.draws import mix
from lossmaxpool.training.building import Given, check_all, open_splits
from lossmaxpool.training.engines import (
    Engine,
    Planned,
    PlannedRuns,
    is_finished,
    train_unless_finished,
)
from lossmaxpool.training.progress import ALONE, Place

TUNING = "tuning.json"
# Multiples of the rate of the configuration.
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
# The share of the training images that scores the rates.
HELD_OUT = 0.2


@dataclass(frozen=True)
class Tried:
    """One rate of one method.

    Args:
        miou: On the images held out; NaN where the loss did not stay finite.
    """

    lr: float
    miou: float


class Part(SegmentationDataset):
    """Some images of a data set."""

    def __init__(self, dataset: SegmentationDataset, indices: Sequence[int], name: str) -> None:
        self.dataset, self.indices, self.name = dataset, list(indices), name
        self.labels = dataset.labels

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.indices[index]]

    def mask(self, index: int) -> Tensor:
        return self.dataset.mask(self.indices[index])

    def sample_name(self, index: int) -> str:
        return self.dataset.sample_name(self.indices[index])

    def mask_file(self, index: int) -> MaskFile | None:
        return self.dataset.mask_file(self.indices[index])


def with_tuned_rates(
    config: TrainConfig,
    methods: Sequence[str],
    seed: int,
    out: Path,
    *,
    steps: int | None = None,
    given: Given,
    engine: Engine,
    jobs: int | None = None,
) -> TrainConfig:
    """Return a configuration in which each method has the rate that served it best.

    Rates that ``out`` holds already are taken from there.

    Args:
        seed: Decides the images held out, the first weights and the batches, alike for all.
        out: The folder of the comparison; gets the runs in ``tuning/`` and their results in
            ``tuning.json``.
        steps: Steps at each rate; None takes a quarter of those of a run.

    Raises:
        TrainingError: A method has no rate at which its loss stays finite, or the training split
            has a single image.
    """
    steps = max(1, config.optimization.steps // 4) if steps is None else steps
    if steps < 1:
        raise ValueError(f"the steps at each rate are {steps}: expected at least 1")
    found = _read(out / TUNING)
    missing = [method for method in methods if method not in found]
    if missing:
        check_all([replace(config, method=method).resolved() for method in missing], given)
        tried = {method: _tried(config, method, seed, steps, out) for method in missing}
        runs = [run for each in tried.values() for run in each]
        (out / "tuning").mkdir(parents=True, exist_ok=True)
        engine(PlannedRuns(runs, jobs, _parts(config, seed, given), train_if_finite, "rate"))
        for method, each in tried.items():
            found[method] = [Tried(own.optimization.lr, _score(folder)) for own, folder in each]
        _write(out / TUNING, found, steps)
    losses = dict(config.losses)
    for method in methods:
        losses[method] = {**losses.get(method, {}), "lr": _best(method, found[method])}
    return replace(config, losses=losses)


def tuning_table(out: Path) -> str:
    """Return the rates that were tried as lines of text; empty where none were."""
    found = _read(out / TUNING)
    if not found:
        return ""
    lines = ["learning rates tried, mIoU in percent on training images held out; * is taken"]
    width = max(map(len, found))
    for method, tried in found.items():
        best = _best(method, tried)
        cells = [
            f"{one.lr:g}: {'not finite' if math.isnan(one.miou) else f'{100 * one.miou:.1f}'}"
            + ("*" if one.lr == best else "")
            for one in tried
        ]
        edge = best in (tried[0].lr, tried[-1].lr)
        note = "  (the last one tried: a rate beyond it may be better)" if edge else ""
        lines.append(f"{method:{width}}  {'  '.join(cells)}{note}")
    return "\n".join(lines)


def _parts(config: TrainConfig, seed: int, given: Given) -> Given:
    whole, _ = open_splits(config, given)
    if len(whole) < 2:
        raise TrainingError(
            f"{whole.name} has {len(whole)} image: --tune-lr needs two at least, to hold one out"
        )
    generator = torch.Generator().manual_seed(mix(seed, 1))
    order = torch.randperm(len(whole), generator=generator).tolist()
    held = max(1, round(HELD_OUT * len(whole)))
    return Given(
        Part(whole, sorted(order[held:]), f"{whole.name}, to tune"),
        Part(whole, sorted(order[:held]), f"{whole.name}, held out"),
        given.model,
    )


def _tried(config: TrainConfig, method: str, seed: int, steps: int, out: Path) -> list[Planned]:
    own = replace(config, method=method).resolved()
    rates = [float(f"{own.optimization.lr * factor:.3g}") for factor in FACTORS]
    folder = out / "tuning"
    return [(_short(own, seed, lr, steps), folder / f"{method}-lr{lr:g}") for lr in rates]


def _short(own: TrainConfig, seed: int, lr: float, steps: int) -> TrainConfig:
    warmup = min(steps, own.optimization.warmup)
    return replace(
        own,
        seed=seed,
        data=DataConfig(),
        optimization=replace(own.optimization, lr=lr, steps=steps, warmup=warmup),
        reporting=replace(
            own.reporting,
            eval_every=0,
            checkpoint_every=steps,
            keep_checkpoints=0,
            examples=0,
            evolution=0,
            loggers=[],
        ),
    )


def train_if_finite(config: TrainConfig, folder: Path, given: Given, place: Place = ALONE) -> None:
    """Train as an engine does, and take a loss that does not stay finite for a result."""
    with suppress(NonFiniteLossError):
        train_unless_finished(config, folder, given, place)


def _score(folder: Path) -> float:
    return RunRecord.read(folder).results.miou if is_finished(folder) else math.nan


def _best(method: str, tried: Sequence[Tried]) -> float:
    """Return the rate of the highest score; of equal ones, that nearest to the configured one."""
    usual = tried[FACTORS.index(1.0)].lr
    finite = [one for one in tried if not math.isnan(one.miou)]
    if not finite:
        raise TrainingError(
            f"the loss of {method} is finite at none of the rates "
            f"{', '.join(f'{one.lr:g}' for one in tried)}: lower optimization.lr"
        )
    return max(finite, key=lambda one: (one.miou, -abs(math.log(one.lr / usual)))).lr


def _read(path: Path) -> dict[str, list[Tried]]:
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return {
        method: [Tried(lr, math.nan if miou is None else miou) for lr, miou in tried]
        for method, tried in content["tried"].items()
    }


def _write(path: Path, found: dict[str, list[Tried]], steps: int) -> None:
    tried = {
        method: [[one.lr, None if math.isnan(one.miou) else one.miou] for one in each]
        for method, each in found.items()
    }
    content = {"steps": steps, "held_out": HELD_OUT, "tried": tried}
    write_atomically(path, json.dumps(content, indent=1).encode())
