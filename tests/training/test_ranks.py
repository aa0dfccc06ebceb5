"""What two processes must agree on before they train."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import distributed as dist

from lossmaxpool.training.ranks import SameMasks


def work(rank: int, folder: str) -> None:
    """See the same training masks, and validation masks of one's own."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    shared, own = torch.tensor([[3, 4], [0, 9]]), torch.tensor([[rank, 7]])
    found = []
    for splits in ((shared, shared), (shared, own)):
        try:
            SameMasks(*splits).on_train_start(pl.Trainer.__new__(pl.Trainer), pl.LightningModule())
            found.append("")
        except ValueError as error:
            found.append(str(error))
    (Path(folder) / f"{rank}.txt").write_text("\n".join(found))
    dist.barrier()
    dist.destroy_process_group()


def test_other_validation_masks_stop_all_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=work, args=(rank, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    for rank in range(2):
        same, other = (tmp_path / f"{rank}.txt").read_text().split("\n")
        assert same == ""
        assert "the ranks 1 see other masks than rank 0" in other
