"""Several runs, one after the other or in processes side by side; finished ones are kept."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from lossmaxpool.processes import end_with_parent
from lossmaxpool.training.config import HardwareConfig, TrainConfig
from lossmaxpool.training.folder import CONFIG, check_same_run, is_unused
from lossmaxpool.training.loop import train
from lossmaxpool.training.record import RECORD, RunRecord

# What to train, and the folder for it.
Planned = tuple[TrainConfig, Path]


def train_all(runs: Sequence[Planned], *, jobs: int = 1) -> None:
    """Train the runs that are not finished, resume those that have begun.

    Args:
        runs: Configurations and their run folders.
        jobs: Runs at the same time, each in a process with its share of the threads.

    Raises:
        TrainingError: A folder holds a run of another configuration, or a run stopped.
        ValueError: Less than one job, or several devices per run.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}: expected at least 1")
    shared = [
        (replace(config, hardware=_share(config.hardware, jobs)), folder) for config, folder in runs
    ]
    if jobs > 1:
        _train_in_processes(shared, jobs)
        return
    for run, folder in shared:
        train_unless_finished(run, folder)


def _train_in_processes(runs: Sequence[Planned], jobs: int) -> None:
    """Train ``jobs`` runs at a time; after a failure or Ctrl-C, no further one begins."""
    waiting = iter(runs)
    # Fresh interpreters: a forked one would inherit the threads' locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:
        # A run is handed over when a process is free for it: what the pool holds it will begin.
        active = {pool.submit(train_unless_finished, *run) for run in islice(waiting, jobs)}
        while active:
            done, active = wait(active, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            active |= {
                pool.submit(train_unless_finished, *run) for run in islice(waiting, len(done))
            }


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
    begun = (folder / CONFIG).is_file() and not is_unused(folder)
    if begun and (folder / RECORD).is_file() and RunRecord.read(folder).status == "finished":
        check_same_run(config, folder)
    else:
        train(config, folder, resume=begun)
