"""pool="world": two and three gloo processes match one process that holds all pixels."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lossmaxpool import MaxPoolingCrossEntropyLoss, loss_max_pool
from tests.ranks import in_ranks
from tests.tolerances import FLOAT32

# p and least support; every branch of the solver: selection, both bounds, the mean.
CASES = ((1.0, 0.25), (1.0001, 0.25), (1.01, 0.6), (1.3, 0.25), (4.0, 0.9), (math.inf, 0.25))
TOLERANCE = FLOAT32
CLASSES = 5


def shard(rank: int) -> tuple[Tensor, Tensor]:
    """A rank's batch (pixels of 6 features) and labels; ranks differ in size and valid share."""
    generator = torch.Generator().manual_seed(100 + rank)
    pixels = 40 + 30 * rank
    features = torch.randn(2, 6, pixels, generator=generator)
    target = torch.randint(0, CLASSES, (2, pixels), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2 + 0.3 * rank] = 255
    if rank == 2:
        target[:] = 255  # a rank without valid pixels still participates
    return features, target


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Conv1d(6, CLASSES, 1)


def criterion(p: float, share: float, pool: str) -> MaxPoolingCrossEntropyLoss:
    return MaxPoolingCrossEntropyLoss(p=p, min_support=share, ignore_index=255, pool=pool)


def one_process(size: int, p: float, share: float) -> tuple[Tensor, list[Tensor]]:
    """The value and gradients of a process that holds the pixels of all ranks."""
    model = network()
    shards = [shard(rank) for rank in range(size)]
    features = torch.cat([x.transpose(0, 1).flatten(1) for x, _ in shards], dim=1).unsqueeze(0)
    target = torch.cat([y.flatten() for _, y in shards]).unsqueeze(0)
    value = criterion(p, share, "batch")(model(features), target)
    value.backward()
    return value.detach(), [w.grad for w in model.parameters() if w.grad is not None]


def work(rank: int, size: int, folder: Path) -> None:
    results = []
    for p, share in CASES:
        model = DistributedDataParallel(network())
        features, target = shard(rank)
        value = criterion(p, share, "world")(model(features), target)
        value.backward()
        gradients = [w.grad for w in model.parameters()]
        results.append((value.detach(), gradients))
    poisoned = torch.ones(1, 8)
    poisoned[0, 0] = torch.nan if rank == 0 else 1
    results.append(loss_max_pool(poisoned, pool="world"))
    torch.save(results, folder / f"{rank}.pt")


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_together_equal_one_process(size: int, tmp_path: Path) -> None:
    in_ranks(work, size, tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(size)]
    for case, (p, share) in enumerate(CASES):
        expected, gradients = one_process(size, p, share)
        for rank in ranks:
            value, averaged = rank[case]
            torch.testing.assert_close(value, expected, rtol=TOLERANCE, atol=0)
            for found, truth in zip(averaged, gradients, strict=True):
                torch.testing.assert_close(found, truth, rtol=0, atol=TOLERANCE * truth.abs().max())
    for rank in ranks:
        assert rank[-1].isnan()  # a NaN on one rank gives NaN on all ranks
