"""Two processes draw, count and update like a single one."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from lossmaxpool.sampling import ClassIndex, Draw, DrawnCrops, PerformanceSampler, RunningIoU
from tests.ranks import in_ranks
from tests.sampling.scenes import CLASSES, half_right, index_of, masks, pairs

STEPS, BATCH = 30, 4
# A rank imports this module before it joins the group: this sampler is older than the group.
EARLY = PerformanceSampler(index_of(masks(), num_classes=CLASSES + 1), BATCH)


def train() -> tuple[list[list[Draw]], Tensor]:
    """The draws of this process, and the final confusion matrix."""
    sampler = PerformanceSampler(index_of(masks()), BATCH, 5, update_interval=4, steps=STEPS)
    sampler.index.check_ranks()
    running = RunningIoU(CLASSES, half_life=10)
    crops = DrawnCrops(pairs(masks()), (10, 12))
    batches = []
    for batch in sampler:
        batches.append(batch)
        target = torch.stack([crops[draw][1] for draw in batch])
        running.update(half_right(target), target)
        sampler.update(running.iou())
    return batches, running.matrix


def work(rank: int, size: int, folder: Path) -> None:
    batches, matrix = train()
    refused = ""
    try:
        ClassIndex(torch.tensor([[rank + 1]])).check_ranks()
    except ValueError as error:
        refused = str(error)
    with warnings.catch_warnings(record=True) as reports:
        warnings.simplefilter("always")
        next(iter(EARLY))
    drawn = [[tuple(draw) for draw in batch] for batch in batches]
    torch.save((drawn, matrix, refused, len(reports)), folder / f"{rank}.pt")


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    in_ranks(work, 2, tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    batches, matrix = train()
    for step, batch in enumerate(batches):
        shares = [[Draw(*draw) for draw in drawn[step]] for drawn, *_ in ranks]
        assert shares == [batch[0::2], batch[1::2]]
    for _, found, refused, _ in ranks:
        assert torch.equal(found, matrix)
        assert "the ranks 1 see other masks than rank 0" in refused
    # A sampler may be older than the group: a class without a pixel is reported by one of them.
    assert [reports for *_, reports in ranks] == [1, 0]
