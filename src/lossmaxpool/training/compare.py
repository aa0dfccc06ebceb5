"""Several methods under the same seeds: same weights to start from, same batches, other losses."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from lossmaxpool.training.config import HardwareConfig, MethodId, TrainConfig
from lossmaxpool.training.errors import TrainingError
from lossmaxpool.training.folder import CONFIG, check_same_run, is_unused
from lossmaxpool.training.record import RECORD, RunRecord
from lossmaxpool.training.run import train


def compare(
    config: TrainConfig,
    methods: Sequence[MethodId],
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int = 1,
    resume: bool = False,
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
    for what, given in (("method", methods), ("seed", seeds)):
        if not given or len(set(given)) < len(given):
            raise ValueError(f"{what}s are {list(given)}: expected at least one, each once")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}: expected at least 1")
    if not resume and not is_unused(out):
        raise TrainingError(f"{out} is not empty: choose a new folder, or add --resume")
    config = replace(config, hardware=_share(config.hardware, jobs))
    runs = [
        (replace(config, method=method, seed=seed), out / f"{method}-seed{seed}")
        for seed in seeds
        for method in methods
    ]
    if jobs == 1:
        for run, folder in runs:
            train_unless_finished(run, folder)
    else:
        _train_in_processes(runs, jobs)
    return [folder for _, folder in runs]


def _train_in_processes(runs: Sequence[tuple[TrainConfig, Path]], jobs: int) -> None:
    """Train ``jobs`` runs at a time; after a failure or Ctrl-C, no further one begins."""
    waiting = iter(runs)
    # Fresh interpreters: a forked one would inherit the threads' locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent) as pool:
        # A run is handed over when a process is free for it: what the pool holds it will begin.
        active = {pool.submit(train_unless_finished, *run) for run in islice(waiting, jobs)}
        while active:
            done, active = wait(active, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            active |= {
                pool.submit(train_unless_finished, *run) for run in islice(waiting, len(done))
            }


def _end_with_parent() -> None:
    """Let this process end when the one that compares is killed: it would train on, unseen."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def _share(hardware: HardwareConfig, jobs: int) -> HardwareConfig:
    """One device, and a share of the threads, for each run."""
    if hardware.devices not in ("auto", 1) or hardware.num_nodes > 1:
        raise ValueError(
            f"hardware.devices is {hardware.devices} on {hardware.num_nodes} nodes: a comparison "
            "trains each run on one device; set 1 and raise jobs, or train the runs one by one"
        )
    threads = hardware.threads
    if jobs > 1:
        threads = max(1, (threads or torch.get_num_threads()) // jobs)
    return replace(hardware, devices=1, threads=threads)


def train_unless_finished(config: TrainConfig, folder: Path) -> None:
    """Train, resume or keep the run in a folder, whichever is left to do."""
    begun = (folder / CONFIG).is_file()
    if begun and (folder / RECORD).is_file() and RunRecord.read(folder).status == "finished":
        check_same_run(config, folder)
    else:
        train(config, folder, resume=begun)
