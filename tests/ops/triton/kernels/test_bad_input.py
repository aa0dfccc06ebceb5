"""Invalid input must give NaN or an error, never a plausible number."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lossmaxpool.ops.backends.triton import kernels
from lossmaxpool.ops.weighting_set import WeightingSet

IGNORE = 255
SIZES = [(6, 7), (13, 21)]  # of the target; the logits are 6 x 7
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def stages(
    logits: Tensor, target: Tensor, device: torch.device, smoothing: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    x, y = logits.to(device), target.to(device)
    losses = kernels.pixel_losses(x, y, None, IGNORE, smoothing)
    packed = kernels.solve(losses.view(2, -1), None, WeightingSet(1.3, 0.25), True)
    outer = torch.ones(2, device=device)
    grad = kernels.gradient(
        outer, x, y, None, losses, packed, IGNORE, smoothing, WeightingSet(1.3, 0.25)
    )
    return losses.cpu(), packed[0].cpu(), grad.cpu()


def sample(spatial: tuple[int, int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 6, 7, generator=generator)
    return logits, torch.randint(5, (2, *spatial), generator=generator)


@pytest.mark.parametrize("spatial", SIZES)
@pytest.mark.parametrize("wrong", [5, 300, -7, -100])
def test_a_label_that_is_no_class(
    wrong: int, spatial: tuple[int, int], device: torch.device
) -> None:
    logits, target = sample(spatial)
    target[1, 3, 4] = wrong
    losses, values, grad = stages(logits, target, device)
    assert losses.isnan().nonzero().tolist() == [[1, 3, 4]]
    assert values[0].isfinite()
    assert values[1].isnan()
    assert grad[0].isfinite().all()
    assert grad[1].isnan().all()


def test_ignore_index_does_not_wrap_around(device: torch.device) -> None:
    target = torch.full((1, 4), 156, dtype=torch.uint8, device=device)  # -100 in eight bits
    logits = torch.zeros(1, 200, 4, device=device)
    losses = kernels.pixel_losses(logits, target, None, -100, 0.0)
    torch.testing.assert_close(losses.cpu(), torch.full((1, 4), math.log(200.0)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
def test_ignored_pixels_hold_anything(
    hole: float, layout: torch.memory_format, device: torch.device
) -> None:
    logits, target = sample(SIZES[0])
    logits = logits.contiguous(memory_format=layout)
    clean, target[:, 2] = logits.clone(), IGNORE
    logits[:, :, 2] = hole
    for ours, truth in zip(
        stages(logits, target, device), stages(clean, target, device), strict=True
    ):
        assert torch.equal(ours, truth)
    assert (stages(logits, target, device)[2][:, :, 2] == 0).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers(
    bad: float, layout: torch.memory_format, device: torch.device
) -> None:
    logits, target = sample(SIZES[0])
    logits = logits.contiguous(memory_format=layout)
    logits[0, 1, 2, 3] = bad
    losses, values, grad = stages(logits, target, device)
    assert losses.isnan().nonzero().tolist() == [[0, 2, 3]]
    assert values.isnan().tolist() == [True, False]
    assert grad[0].isnan().all()
    assert grad[1].isfinite().all()


@pytest.mark.parametrize("classes", [2, 40])
def test_impossible_classes_and_very_negative_logits(classes: int, device: torch.device) -> None:
    logits = torch.full((2, classes, 3), -1e30)
    target = torch.ones(2, 3, dtype=torch.int64)
    logits[0, 0] = -math.inf  # no pixel is of that class
    losses, values, grad = stages(logits, target, device)
    torch.testing.assert_close(losses[1], torch.full((3,), math.log(classes)))
    torch.testing.assert_close(losses[0], torch.full((3,), math.log(classes - 1)))
    assert grad.isfinite().all()
    logits[0, 1] = -math.inf
    losses, values, _ = stages(logits, target, device)
    assert not losses[0].isfinite().any()
    assert values[0].isnan()


def test_no_loss_is_minus_zero(device: torch.device) -> None:
    logits = torch.tensor([[[40.0], [0.0]]], device=device)
    target = torch.zeros(1, 1, dtype=torch.int64, device=device)
    losses = kernels.pixel_losses(logits, target, None, IGNORE, 0.0)
    assert not losses.signbit().any()


@pytest.mark.parametrize("spatial", SIZES)
def test_everything_ignored(spatial: tuple[int, int], device: torch.device) -> None:
    logits, target = sample(spatial)
    losses, values, grad = stages(logits, torch.full_like(target, IGNORE), device)
    assert (losses == -1).all()
    assert (values == 0).all()
    assert (grad == 0).all()


def test_no_images(device: torch.device) -> None:
    logits = torch.empty(0, 3, 4, 4, device=device)
    target = torch.empty(0, 4, 4, dtype=torch.int64, device=device)
    assert kernels.pixel_losses(logits, target, None, IGNORE, 0.0).shape == (0, 4, 4)
