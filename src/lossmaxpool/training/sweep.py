"""A grid of runs over methods, exponents, supports and seeds, one run folder each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from lossmaxpool.checks import check_norm, check_share
from lossmaxpool.training.config import MAX_POOLED, MethodId, TrainConfig
from lossmaxpool.training.many import Planned


@dataclass(frozen=True)
class Grid:
    """What is swept over.

    Args:
        methods: The methods; those without a weighting set are run once per seed.
        p: Norm exponents in [1, inf].
        min_support: m / n in (0, 1].
        seeds: The seeds.

    Raises:
        ValueError: An axis is empty or holds a value twice, or a value is out of its range.
    """

    methods: Sequence[MethodId] = ("lmp",)
    p: Sequence[float] = (1.3,)
    min_support: Sequence[float] = (0.25,)
    seeds: Sequence[int] = (0,)

    def __post_init__(self) -> None:
        for axis in ("methods", "p", "min_support", "seeds"):
            values = list(getattr(self, axis))
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{axis} is {values}: expected at least one value, each once")
        for p in self.p:
            check_norm(p)
        for share in self.min_support:
            check_share("min_support", share)


def plan(config: TrainConfig, grid: Grid, out: Path) -> list[Planned]:
    """Name every run of a sweep.

    Runs of one seed follow one another, so that an interrupted sweep has compared something.

    Args:
        config: What the runs share; its method, seed, p and min_support are not looked at.
        grid: What they do not.
        out: The folder that will hold the run folders.

    Returns:
        Configurations and folders: ``<out>/<method>[-p<p>-m<min_support>]-seed<seed>``.

    Example:
        >>> runs = plan(TrainConfig(), Grid(methods=("base", "lmp"), p=(1.3, 2.0)), Path("out"))
        >>> [folder.name for _, folder in runs]
        ['base-seed0', 'lmp-p1.3-m0.25-seed0', 'lmp-p2-m0.25-seed0']
    """
    runs = []
    for seed, method in product(grid.seeds, grid.methods):
        own = replace(config, method=method, seed=seed)
        if method not in MAX_POOLED:
            runs.append((own, out / f"{method}-seed{seed}"))
            continue
        for share, p in product(grid.min_support, grid.p):
            loss = replace(config.loss, p=p, min_support=share)
            name = f"{method}-p{p:g}-m{share:g}-seed{seed}"
            runs.append((replace(own, loss=loss), out / name))
    return runs
