"""The mean over a batch, in one process and in two."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.runs.config import LossConfig
from lossmaxpool.runs.methods import METHODS
from lossmaxpool.training.criteria import ImageMeanLoss, MeanCrossEntropyLoss, build_criterion
from tests.ranks import in_ranks

WEIGHT = torch.tensor([1.0, 2.0, 0.5])


def built(method: str, losses: LossConfig) -> nn.Module:
    return build_criterion(METHODS[method].criterion, losses, torch.ones(1, 3))


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three images: one labeled in part, one whole, one not at all."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 3, 4, 4, generator=generator).requires_grad_()
    target = torch.randint(3, (3, 16, 16), generator=generator)
    target[0, :3] = IGNORE_INDEX
    target[2] = IGNORE_INDEX
    return logits, target


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 0.5])])
def test_mean_cross_entropy_is_the_one_of_torch(weight: torch.Tensor | None) -> None:
    logits, target = batch()
    full = F.interpolate(logits, size=(16, 16), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(full, target, weight=weight, ignore_index=IGNORE_INDEX)
    torch.testing.assert_close(MeanCrossEntropyLoss(weight)(logits, target), expected)


def test_images_without_a_valid_pixel_do_not_count() -> None:
    logits, target = batch()
    per_image = built("loss-only", LossConfig())
    assert isinstance(per_image, ImageMeanLoss)
    torch.testing.assert_close(per_image(logits, target), per_image(logits[:2], target[:2]))


def shard(rank: int) -> tuple[Tensor, Tensor]:
    """The second process has two images that count, the first one and a half-empty one."""
    logits, target = batch(seed=rank)
    if rank == 0:
        target[1, 2:] = IGNORE_INDEX
        target[0] = IGNORE_INDEX
    return logits, target


def criteria() -> list[nn.Module]:
    losses = LossConfig(bootstrap_k=40, ohem_threshold=0.05, ohem_min_kept=0.1, top_share=0.2)
    methods = [built(name, losses) for name in ("loss-only", "bootstrap", "ohem", "topk")]
    return [MeanCrossEntropyLoss(), MeanCrossEntropyLoss(WEIGHT), *methods]


def work(rank: int, size: int, folder: Path) -> None:
    found = []
    for criterion in criteria():
        logits, target = shard(rank)
        loss = criterion(logits, target)
        loss.backward()
        found.append((loss.detach(), logits.grad))
    torch.save(found, folder / f"{rank}.pt")


def test_two_processes_have_the_mean_of_one(tmp_path: Path) -> None:
    in_ranks(work, 2, tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    shards = [shard(rank) for rank in range(2)]
    for k, criterion in enumerate(criteria()):
        logits = torch.cat([part for part, _ in shards]).detach().requires_grad_()
        loss = criterion(logits, torch.cat([part for _, part in shards]))
        loss.backward()
        assert logits.grad is not None
        torch.testing.assert_close((ranks[0][k][0] + ranks[1][k][0]) / 2, loss.detach())
        # The training loop averages the gradients over the processes (DDP); do the same here.
        torch.testing.assert_close(torch.cat([found[k][1] for found in ranks]) / 2, logits.grad)
