"""Processes that know each other, as the ranks of one gloo group."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed as dist

Work = Callable[[int, int, Path], None]


def in_ranks(work: Work, size: int, folder: Path) -> None:
    """Call ``work(rank, size, folder)`` in each process of a group; all must come to their end.

    Children of a fork server end without tearing the interpreter down: a thread of gloo that still
    frees a tensor at that moment would abort the process after its work is done.
    """
    context = multiprocessing.get_context("forkserver")
    processes = [
        # A daemon does not outlive the tests if it hangs.
        context.Process(target=_as_rank, args=(work, rank, size, folder), daemon=True)
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * size


def _as_rank(work: Work, rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    work(rank, size, folder)
    dist.barrier()
    dist.destroy_process_group()
