"""Several runs: a grid of methods, exponents, supports and seeds, one run folder each.

A comparison is the sweep whose p and min_support are those of the configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from torch import nn

from lossmaxpool.checks import check_norm, check_share
from lossmaxpool.data import SegmentationDataset
from lossmaxpool.runs.config import EngineName, TrainConfig
from lossmaxpool.runs.folder import Resume, check_output, check_same_run, claimed_output
from lossmaxpool.runs.methods import DEFAULT_METHODS
from lossmaxpool.training.building import Given, check_all
from lossmaxpool.training.engines import (
    NOTHING,
    Planned,
    PlannedRuns,
    TrainOne,
    engine_named,
    is_finished,
    on_one_device,
    train_unless_finished,
)
from lossmaxpool.training.tuning import with_tuned_rates

# The files of options: of a comparison, of a sweep, and what the runs of a sweep share.
COMPARE = "compare.yaml"
SWEEP = "sweep.yaml"
SHARED = "shared.yaml"


@dataclass(frozen=True)
class Grid:
    """The axes of a sweep.

    Args:
        methods: The methods; those without a weighting set are run once per seed.
        p: Norm exponents in [1, inf]; None takes that of the configuration.
        min_support: m / n in (0, 1]; None takes that of the configuration.
        seeds: The seeds.

    Raises:
        ValueError: An axis is empty or holds a value twice, or a value is out of its range.
    """

    methods: Sequence[str] = DEFAULT_METHODS
    p: Sequence[float] | None = (1.3,)
    min_support: Sequence[float] | None = (0.25,)
    seeds: Sequence[int] = (0,)

    def __post_init__(self) -> None:
        for axis, values in self.axes().items():
            if not values or len(set(values)) < len(values):
                verb = "are" if axis.endswith("s") else "is"
                raise ValueError(f"{axis} {verb} {values}: expected at least one value, each once")
        for p in self.p or ():
            check_norm(p)
        for share in self.min_support or ():
            check_share("min_support", share)

    def axes(self) -> dict[str, list[Any]]:
        """Return the values of every axis that is not left to the configuration."""
        found = {name: getattr(self, name) for name in ("methods", "p", "min_support", "seeds")}
        return {name: list(values) for name, values in found.items() if values is not None}


def plan(config: TrainConfig, grid: Grid, out: Path) -> list[Planned]:
    """Name every run of a sweep.

    Runs of one seed follow one another, so that an interrupted sweep has compared something.

    Args:
        config: The options that the runs share; its method and seed are not used, nor are p and
            min_support where the grid has them.

    Returns:
        Configurations and folders: ``<out>/<method>[-p<p>-m<min_support>]-seed<seed>``.

    Example:
        >>> runs = plan(TrainConfig(), Grid(methods=("base", "lmp"), p=(1.3, 2.0)), Path("out"))
        >>> [folder.name for _, folder in runs]
        ['base-seed0', 'lmp-p1.3-m0.25-seed0', 'lmp-p2-m0.25-seed0']
    """
    runs = []
    for seed, method in product(grid.seeds, grid.methods):
        own = replace(config, method=method, seed=seed).resolved()
        if not own.chosen.max_pooled or grid.p is grid.min_support is None:
            runs.append((own, out / f"{method}-seed{seed}"))
            continue
        shares = grid.min_support or (config.loss.min_support,)
        for share, p in product(shares, grid.p or (config.loss.p,)):
            loss = replace(config.loss, p=p, min_support=share)
            name = f"{method}-p{p:g}-m{share:g}-seed{seed}"
            runs.append((replace(own, loss=loss), out / name))
    return runs


def compare(
    config: TrainConfig,
    methods: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int | None = None,
    engine: EngineName = "local",
    resume: Resume = False,
    train_set: SegmentationDataset | None = None,
    val_set: SegmentationDataset | None = None,
    model: nn.Module | None = None,
    tune_lr: bool = False,
    tune_steps: int | None = None,
) -> list[Path]:
    """Train every method with every seed, one run folder each.

    Args:
        config: The options that the runs share; its method and seed are not used.
        methods: The methods.
        seeds: The seeds.
        out: The folder that will hold the run folders and compare.yaml; new or empty, unless
            resuming.
        jobs: Runs at the same time; None is one here, where several share the threads, and on Ray
            as many as the cluster has room for.
        engine: "local" trains on this machine, "ray" on the nodes of a Ray cluster.
        resume: Keep the finished runs in ``out`` and go on with the rest; "auto" also begins where
            there is nothing yet.
        train_set: As for :func:`~lossmaxpool.training.train`; with several jobs, it must be one
            that can be pickled.
        val_set: Likewise.
        model: Likewise.
        tune_lr: Let every method find its own learning rate first, on a part of the training split.
        tune_steps: Steps at each rate; None takes a quarter of those of a run.

    Returns:
        The run folders, ``<out>/<method>-seed<seed>``.

    Raises:
        TrainingError: ``out`` is not empty and nobody asked to resume, there is nothing to resume,
            it holds runs of another configuration, or a run stopped.
        ValueError: No method, no seed, or one of them twice; several devices per run.
    """
    given = Given(train_set, val_set, model)
    config = given.named_in(config)
    grid = Grid(methods, None, None, seeds)
    if tune_lr:
        check_output(out, (COMPARE,), resume=resume)
        shared = replace(config, hardware=on_one_device(config.hardware, config.hardware.threads))
        tuned = with_tuned_rates(
            shared,
            methods,
            seeds[0],
            out,
            steps=tune_steps,
            given=given,
            engine=engine_named(engine, jobs),
            jobs=jobs,
        )
        config = replace(config, losses=tuned.losses)
        resume = "auto"
    return sweep(
        config, grid, out, jobs=jobs, engine=engine, resume=resume, saved=COMPARE, given=given
    )


def sweep(
    config: TrainConfig,
    grid: Grid,
    out: Path,
    *,
    jobs: int | None = None,
    engine: EngineName = "local",
    resume: Resume = False,
    saved: str = SWEEP,
    dry_run: bool = False,
    given: Given = NOTHING,
) -> list[Path]:
    """Train a grid of runs: those that are not finished, from where they were.

    Args:
        out: The folder that will hold the run folders and their options; new or empty, unless
            resuming.
        saved: The name of the file of options in ``out``.
        dry_run: Claim the folder and train nothing.

    Returns:
        The run folders, in the order of :func:`plan`.
    """
    runs = plan(config, grid, out)
    common = {k: v for k, v in config.to_dict().items() if k not in ("method", "seed")}
    files = {saved: grid.axes() | common}
    if saved == SWEEP:
        files[SHARED] = common
    with claimed_output(out, files, runs, resume=resume):
        if not dry_run:
            train_all(runs, jobs=jobs, engine=engine, given=given)
    return [folder for _, folder in runs]


def train_all(
    runs: Sequence[Planned],
    *,
    jobs: int | None = None,
    engine: EngineName = "local",
    given: Given = NOTHING,
    task: TrainOne = train_unless_finished,
) -> None:
    """Train the runs that are not finished, resume those that have begun.

    Args:
        task: Trains one of them.

    Raises:
        TrainingError: A folder holds a run of another configuration, a run stopped, or the engine
            cannot be used.
        DataError: The data set of the runs cannot be opened; no run has begun.
        ValueError: Less than one job, several devices per run, or an unknown engine.
    """
    train_with = engine_named(engine, jobs)
    left = []
    for config, folder in runs:
        on_one_device(config.hardware, 1)
        if is_finished(folder):
            check_same_run(config, folder)
        else:
            left.append(config)
    if left:
        check_all(left, given)
        train_with(PlannedRuns(runs, jobs, given, task))
