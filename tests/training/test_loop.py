from __future__ import annotations

import pytest
import torch

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.runs.config import OptimizationConfig
from lossmaxpool.training.loop import pad_to_stride, rate_factor


def test_rate_falls_to_zero_with_the_power() -> None:
    optimization = OptimizationConfig(steps=10, poly_power=2.0)
    assert [rate_factor(step, optimization) for step in (0, 5, 10)] == [1.0, 0.25, 0.0]


def test_warmup_rises_to_the_decay() -> None:
    optimization = OptimizationConfig(steps=10, warmup=4, poly_power=1.0)
    factors = [rate_factor(step, optimization) for step in range(4)]
    assert factors == pytest.approx([0.25, 0.5 * 0.9, 0.75 * 0.8, 0.7])


@pytest.mark.parametrize(("size", "padded"), [((550, 550), (552, 552)), ((321, 328), (328, 328))])
def test_padding_to_the_stride_is_ignored(size: tuple[int, int], padded: tuple[int, int]) -> None:
    images, masks = pad_to_stride(torch.ones(2, 3, *size), torch.ones(2, *size).long(), 8)
    assert images.shape == (2, 3, *padded)
    assert masks.shape == (2, *padded)
    assert (masks[:, : size[0], : size[1]] == 1).all()
    assert (masks != IGNORE_INDEX).sum() == 2 * size[0] * size[1]
    assert torch.equal(images[:, 0] == 1, masks == 1)
