"""Two processes that know each other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

from torch import distributed as dist

Work = Callable[[int, Path], None]


def in_two_processes(work: Work, folder: Path) -> None:
    """Call ``work(rank, folder)`` as each of two ranks of a group; both must come to its end."""
    context = multiprocessing.get_context("forkserver")
    processes = [
        # A daemon does not outlive the tests if it hangs.
        context.Process(target=_as_rank, args=(work, rank, folder), daemon=True)
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]


def _as_rank(work: Work, rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    work(rank, folder)
    dist.barrier()
    dist.destroy_process_group()
