"""Several methods under the same seeds: same weights to start from, same batches, other losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lossmaxpool.training.config import MethodId, TrainConfig
from lossmaxpool.training.errors import TrainingError
from lossmaxpool.training.folder import Resume, is_unused, nothing_to_resume
from lossmaxpool.training.many import Planned, train_all


def compare(
    config: TrainConfig,
    methods: Sequence[MethodId],
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int = 1,
    resume: Resume = False,
) -> list[Path]:
    """Train every method with every seed, one run folder each.

    Runs of one seed follow one another, so that an interrupted comparison has compared something.

    Args:
        config: What the runs share; its method and seed are not looked at.
        methods: The methods.
        seeds: The seeds.
        out: The folder that will hold the run folders; new or empty, unless resuming.
        jobs: Runs at the same time, each in a process with its share of the threads.
        resume: Keep the finished runs in ``out`` and go on with the rest.

    Returns:
        The run folders, ``<out>/<method>-seed<seed>``.

    Raises:
        TrainingError: ``out`` is not empty and nobody asked to resume, it holds runs of another
            configuration, or a run stopped.
        ValueError: No method, no seed, or one of them twice; several devices per run.
    """
    runs = plan_comparison(config, methods, seeds, out)
    if not resume and not is_unused(out):
        raise TrainingError(f"{out} is not empty: choose a new folder, or add --resume")
    if resume is True and not out.exists():
        raise nothing_to_resume(out)
    train_all(runs, jobs=jobs)
    return [folder for _, folder in runs]


def plan_comparison(
    config: TrainConfig, methods: Sequence[MethodId], seeds: Sequence[int], out: Path
) -> list[Planned]:
    """Name every run of a comparison, those of one seed one after the other.

    Args:
        config: What the runs share.
        methods: The methods.
        seeds: The seeds.
        out: The folder that will hold the run folders.

    Returns:
        Configurations and folders.

    Raises:
        ValueError: No method, no seed, or one of them twice.
    """
    for what, given in (("method", methods), ("seed", seeds)):
        if not given or len(set(given)) < len(given):
            raise ValueError(f"{what}s are {list(given)}: expected at least one, each once")
    return [
        (replace(config, method=method, seed=seed), out / f"{method}-seed{seed}")
        for seed in seeds
        for method in methods
    ]
