"""Two processes compare their step and their data before they train."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from lossmaxpool.runs import TrainingError
from lossmaxpool.training.hardware import check_ranks, lost_process
from tests.ranks import in_ranks


def work(rank: int, size: int, folder: Path) -> None:
    """See the same masks, then other validation masks, then another run folder."""
    shared, own = torch.tensor([[3, 4], [0, 9]]), torch.tensor([[rank, 7]])
    found = []
    for splits, step in (((shared, shared), 5), ((shared, own), 5), ((shared, shared), 5 * rank)):
        try:
            check_ranks(step, *splits)
            found.append("")
        except (ValueError, TrainingError) as error:
            found.append(str(error))
    (folder / f"{rank}.txt").write_text("\n".join(found))


def ended_child() -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    child.kill()
    return child


def test_a_killed_rank_is_named_with_the_way_on(tmp_path: Path) -> None:
    child = ended_child()
    launched = SimpleNamespace(launcher=SimpleNamespace(procs=[child]))
    fabric: Any = SimpleNamespace(world_size=2, strategy=launched)
    gloo = RuntimeError("[/x/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]")
    lost = lost_process(fabric, gloo, tmp_path)
    assert lost is not None
    assert f"rank 1 (process {child.pid}) was killed by SIGKILL" in str(lost)
    assert "--resume goes on from the last checkpoint" in str(lost)
    # Under torchrun and srun the children are not this process's own.
    launched.launcher = None
    lost = lost_process(fabric, gloo, tmp_path)
    assert "one of the 2 processes has ended" in str(lost)
    assert lost_process(fabric, RuntimeError("out of memory"), tmp_path) is None


def test_other_masks_and_other_run_folders_stop_all_processes(tmp_path: Path) -> None:
    in_ranks(work, 2, tmp_path)
    for rank in range(2):
        same, masks, folders = (tmp_path / f"{rank}.txt").read_text().split("\n")
        assert same == ""
        assert "the ranks 1 see other masks than rank 0" in masks
        assert "go on from the steps 0, 5: the run folder must be the same one" in folders
