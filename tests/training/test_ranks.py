"""What two processes must agree on before they train."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import torch

from lossmaxpool.training.ranks import SameMasks
from tests.training.processes import in_two_processes


def work(rank: int, folder: Path) -> None:
    """See the same training masks, and validation masks of one's own."""
    shared, own = torch.tensor([[3, 4], [0, 9]]), torch.tensor([[rank, 7]])
    found = []
    for splits in ((shared, shared), (shared, own)):
        try:
            SameMasks(*splits).on_train_start(pl.Trainer.__new__(pl.Trainer), pl.LightningModule())
            found.append("")
        except ValueError as error:
            found.append(str(error))
    (folder / f"{rank}.txt").write_text("\n".join(found))


def test_other_validation_masks_stop_all_processes(tmp_path: Path) -> None:
    in_two_processes(work, tmp_path)
    for rank in range(2):
        same, other = (tmp_path / f"{rank}.txt").read_text().split("\n")
        assert same == ""
        assert "the ranks 1 see other masks than rank 0" in other
