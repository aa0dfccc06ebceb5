"""The portable pixel loss and gradient against float64, in strips of any size."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lossmaxpool.ops.backends import IGNORED
from lossmaxpool.ops.backends import torch as portable
from lossmaxpool.ops.weighting_set import WeightingSet
from tests.cases import IGNORE, labeled
from tests.reference import assert_near, reference_gradient, reference_losses
from tests.tolerances import FROM_LOGITS, HALF_GRADIENT, SOLVER

SHAPES = [
    ((2, 19, 9, 11), (9, 11)),
    ((2, 3, 5, 4), (40, 32)),
    ((1, 5, 7, 3), (19, 17)),
    ((3, 4, 6), (17,)),
    ((1, 2, 3, 2, 4), (5, 6, 7)),
    ((4, 6), ()),
    ((1, 1, 1, 1), (1, 1)),
]
OPTIONS: list[tuple[list[float] | None, float]] = [
    (None, 0.0),
    (None, 0.1),
    ([0.5, 3.0, 0.0], 0.0),
    ([0.5, 3.0, 0.0], 0.2),
    ([0.5, 3.0, 0.0], 1.0),
]


def instance(
    shape: tuple[int, ...], spatial: tuple[int, ...], **kind: Any
) -> tuple[Tensor, Tensor]:
    logits, _ = labeled(*shape)
    _, target = labeled(shape[0], shape[1], *spatial, seed=1, **kind)
    return logits, target


def gradient(
    logits: Tensor, target: Tensor, losses: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    """The portable gradient of the p = inf pool of all images, and the weight of every pixel."""
    packed = portable.solve(losses.view(1, -1), None, WeightingSet(math.inf, 1.0), True)
    weight, *rest = options
    ours = portable.gradient(
        torch.ones(1), logits, target, weight, losses, packed, *rest, WeightingSet(math.inf, 1.0)
    )
    exists = losses != IGNORED
    return ours, exists.double() / exists.sum()


@pytest.mark.parametrize(("shape", "spatial"), SHAPES)
@pytest.mark.parametrize(("weight", "smoothing"), OPTIONS)
@pytest.mark.parametrize("strip", [1, 200, 1 << 18])
def test_losses_and_gradient_are_those_of_float64(
    shape: tuple[int, ...],
    spatial: tuple[int, ...],
    weight: list[float] | None,
    smoothing: float,
    strip: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(portable, "_STRIP_ON_CPU", strip)
    logits, target = instance(shape, spatial, ignored=0.2)
    weights = None if weight is None else torch.tensor((weight * 7)[: shape[1]])
    options = (weights, IGNORE, smoothing)
    before = target.clone()
    losses = portable.pixel_losses(logits, target, *options)
    assert losses.dtype == torch.float32
    ignored = target == IGNORE
    assert torch.equal(losses == IGNORED, ignored)
    truth = reference_losses(logits, target, *options)
    assert_near(losses.masked_fill(ignored, 0), truth, SOLVER[torch.float32])
    ours, pixel_weights = gradient(logits, target, losses, *options)
    truth = reference_gradient(pixel_weights, logits, target, *options)
    # With one class, the gradient is 0: use the pixels' weights as the scale.
    room = FROM_LOGITS * float(torch.maximum(truth.abs().max(), pixel_weights.max()))
    torch.testing.assert_close(ours.double(), truth, rtol=0, atol=room)
    assert torch.equal(target, before), "the target belongs to the caller"


@pytest.mark.parametrize("target_dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("spatial", [(6, 7), (13, 20)])
def test_dtypes(dtype: torch.dtype, target_dtype: torch.dtype, spatial: tuple[int, int]) -> None:
    logits, target = instance((2, 5, 6, 7), spatial)
    logits, target = logits.to(dtype), target.to(target_dtype)
    options = (None, -100, 0.0)  # -100 must not wrap around in uint8
    losses = portable.pixel_losses(logits, target, *options)
    assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_near(losses, reference_losses(logits, target), SOLVER[losses.dtype])
    ours, weights = gradient(logits, target, losses, *options)
    assert ours.dtype == dtype
    assert_near(ours, reference_gradient(weights, logits, target), HALF_GRADIENT[dtype])


@pytest.mark.parametrize("spatial", [(8, 9), (20, 31)])
def test_strides_of_the_logits_are_kept(spatial: tuple[int, int]) -> None:
    logits, target = instance((2, 5, 8, 9), spatial)
    options = (None, IGNORE, 0.0)
    truth = portable.pixel_losses(logits, target, *options)
    wide = torch.zeros(2, 6, 10, 12)
    wide[:, 1:, 1:9, 2:11] = logits
    crop, last = wide[:, 1:, 1:9, 2:11], logits.to(memory_format=torch.channels_last)
    for other in (crop, last):
        losses = portable.pixel_losses(other, target, *options)
        assert_near(losses, truth, SOLVER[torch.float32])
        ours, _ = gradient(other, target, losses, *options)
        assert ours.stride() == torch.empty_like(other).stride()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("spatial", [(6, 7), (12, 14)])
def test_logits_at_ignored_pixels_are_never_looked_at(
    broken: float, spatial: tuple[int, int]
) -> None:
    logits, target = instance((1, 3, 6, 7), spatial)
    rows = spatial[0] // 6
    target[:, : 3 * rows] = IGNORE
    clean = portable.pixel_losses(logits, target, None, IGNORE, 0.0)
    truth, _ = gradient(logits, target, clean, None, IGNORE, 0.0)
    logits[:, :, :2] = broken
    losses = portable.pixel_losses(logits, target, None, IGNORE, 0.0)
    assert torch.equal(losses, clean)
    ours, _ = gradient(logits, target, losses, None, IGNORE, 0.0)
    assert torch.equal(ours, truth)


def test_labels_that_are_no_class_are_nan_and_confident_pixels_are_not_negative() -> None:
    logits = torch.tensor([[50.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    losses = portable.pixel_losses(logits, torch.tensor([0, 2, -1]), None, -100, 0.0)
    assert losses[1:].isnan().all()
    assert losses[0] == 0
    assert not losses[0].signbit()
