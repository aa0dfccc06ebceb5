"""What two processes must agree on before they train."""

from __future__ import annotations

from pathlib import Path

import torch

from lossmaxpool.training.errors import TrainingError
from lossmaxpool.training.hardware import check_ranks
from tests.training.processes import in_two_processes


def work(rank: int, folder: Path) -> None:
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


def test_other_masks_and_other_run_folders_stop_all_processes(tmp_path: Path) -> None:
    in_two_processes(work, tmp_path)
    for rank in range(2):
        same, masks, folders = (tmp_path / f"{rank}.txt").read_text().split("\n")
        assert same == ""
        assert "the ranks 1 see other masks than rank 0" in masks
        assert "go on from the steps 0, 5: the run folder must be the same one" in folders
