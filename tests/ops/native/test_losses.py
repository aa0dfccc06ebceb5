"""Native pixel losses and their gradient against torch in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import LOGITS, TARGETS
from lossmaxpool.ops.backends.native import gradient, pixel_losses, solve, supports
from lossmaxpool.ops.backends.threshold import unpack
from lossmaxpool.ops.weighting_set import WeightingSet
from lossmaxpool.paper import theorems
from tests.cases import P_VALUES
from tests.reference import reference_gradient, reference_losses
from tests.tolerances import FLOAT32, FROM_LOGITS, HALF_GRADIENT

IGNORED = 255
SHAPES = [(1, 1), (1, 17), (5, 1), (33, 7), (40, 61)]
CLASSES = [1, 2, 19, 21, 33, 150, 1000]
# low -> target: whole and broken ratios, one axis equal, a single pixel.
SIZES = [
    ((5, 6), (40, 48)),
    ((5, 4), (10, 8)),
    ((7, 7), (19, 19)),
    ((1, 1), (9, 5)),
    ((1, 6), (7, 13)),
    ((6, 5), (6, 11)),
    ((6, 5), (13, 5)),
    ((3, 200), (5, 1600)),  # several tiles a row
]


def case(
    shape: tuple[int, ...], classes: int, spatial: tuple[int, ...] | None = None, batch: int = 2
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    logits = 3 * torch.randn(batch, classes, *shape, generator=generator)
    target = torch.randint(0, classes, (batch, *(spatial or shape)), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.1] = IGNORED
    return logits, target


def check(
    logits: Tensor,
    target: Tensor,
    p: float = 1.3,
    weight: Tensor | None = None,
    smoothing: float = 0.0,
    ignored: int = IGNORED,
    rows: int = 2,
) -> None:
    """Losses and gradient are torch's own in float64, up to the tolerances."""
    assert supports(logits, target, target.shape[1:]) is None
    options = (weight, ignored, smoothing)
    valid = target.long() != ignored
    losses = pixel_losses(logits, target, *options)
    truth = reference_losses(logits, target, *options)
    assert torch.all(losses[~valid] == -1)
    torch.testing.assert_close(
        losses[valid].double(), truth[valid], rtol=FROM_LOGITS, atol=FROM_LOGITS
    )

    packed = solve(losses.view(rows, -1), None, WeightingSet(p, 0.25), True)
    upstream = torch.linspace(0.5, 1.5, rows)
    found = gradient(
        upstream, logits, target, weight, losses, packed, ignored, smoothing, WeightingSet(p, 0.25)
    )
    assert found.dtype == logits.dtype
    assert found.shape == logits.shape
    pooled = torch.zeros(losses.shape, dtype=torch.float64)
    for weights, row, exists, scale in zip(
        pooled.view(rows, -1), losses.view(rows, -1), valid.view(rows, -1), upstream, strict=True
    ):
        kept = row[exists].double().numpy()
        if kept.size:
            oracle = theorems.solve(kept, p, max(0.25 * kept.size, 1.0)).weights
            weights[exists] = scale * torch.from_numpy(oracle)
    expected = reference_gradient(pooled, logits, target, *options)
    largest = expected.abs().max().item() if expected.numel() else 0.0
    half = HALF_GRADIENT.get(logits.dtype, 0.0)
    floor = 2.0**-24 if logits.dtype == torch.float16 else 0.0  # half of its smallest number
    atol = FROM_LOGITS * max(largest, unpack(packed).cap.max().item()) + half * largest + floor
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes(shape: tuple[int, int], classes: int) -> None:
    check(*case(shape, classes))


@pytest.mark.parametrize("classes", [1, 2, 19, 150])
@pytest.mark.parametrize(("low", "spatial"), SIZES)
def test_upsampling(low: tuple[int, int], spatial: tuple[int, int], classes: int) -> None:
    check(*case(low, classes, spatial))


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("rows", [1, 2])
def test_every_exponent_and_pool(p: float, rows: int) -> None:
    check(*case((33, 7), 19), p=p, rows=rows)
    check(*case((5, 7), 19, (33, 29)), p=p, rows=rows)


@pytest.mark.parametrize("dtype", LOGITS)
@pytest.mark.parametrize("spatial", [(33, 7), (70, 20)], ids=["dense", "upsampled"])
@pytest.mark.parametrize("last", [False, True], ids=["planar", "channels_last"])
def test_dtypes_and_layouts_of_logits(
    dtype: torch.dtype, spatial: tuple[int, int], last: bool
) -> None:
    logits, target = case((33, 7), 21, spatial)
    logits = logits.to(dtype)
    if last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    check(logits, target)
    losses = pixel_losses(logits, target, None, IGNORED, 0.0)
    packed = solve(losses.view(2, -1), None, WeightingSet(1.3, 0.25), True)
    found = gradient(
        torch.ones(2), logits, target, None, losses, packed, IGNORED, 0.0, WeightingSet(1.3, 0.25)
    )
    assert found.stride() == logits.stride()


@pytest.mark.parametrize("dtype", LOGITS)
@pytest.mark.parametrize(("pixels", "classes"), [(1, 9), (8, 8), (61, 19), (1100, 33), (40, 1000)])
def test_rows_of_one_pixel_as_one_image(pixels: int, classes: int, dtype: torch.dtype) -> None:
    """(N, C) logits, seen as (1, C, N): the classes of a pixel are neighbors in memory."""
    logits, target = case((pixels,), classes, batch=1)
    rows = logits[0].T.contiguous().to(dtype)
    check(rows.T.unsqueeze(0), target, rows=1)


@pytest.mark.parametrize("dtype", TARGETS)
def test_dtypes_of_targets(dtype: torch.dtype) -> None:
    logits, target = case((12, 7), 21)
    check(logits, target.where(target != IGNORED, 100).to(dtype), ignored=100)


def test_minus_100_is_no_uint8_label() -> None:
    logits = torch.randn(1, 200, 4, 4)
    target = torch.full((1, 4, 4), 156, dtype=torch.uint8)
    assert torch.all(pixel_losses(logits, target, None, -100, 0.0) >= 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spatial", [(9, 8), (31, 17)], ids=["dense", "upsampled"])
def test_weights_and_smoothing(smoothing: float, weighted: bool, spatial: tuple[int, int]) -> None:
    weight = torch.linspace(0.2, 3.0, 19) if weighted else None
    check(*case((9, 8), 19, spatial), weight=weight, smoothing=smoothing)


@pytest.mark.parametrize("spatial", [(9, 8), (31, 17)], ids=["dense", "upsampled"])
def test_strided_logits_and_targets(spatial: tuple[int, int]) -> None:
    logits, target = case((9, 8), 19, spatial)
    room = torch.full((2, 25, 14, 20), math.nan)
    room[:, 3:22, 2:11, 5:13] = logits
    check(room[:, 3:22, 2:11, 5:13], target)
    check(logits.mT.contiguous().mT, target)
    check(logits[:1].expand(2, -1, -1, -1), target)
    every = torch.full((*target.shape, 2), -7)
    every[..., 0] = target
    check(logits, every[..., 0])


def test_one_and_three_spatial_dimensions() -> None:
    check(*case((37,), 5))
    check(*case((9,), 5, (37,)))
    check(*case((3, 5, 7), 5))
    logits, target = case((3, 5, 7), 5)
    check(logits.contiguous(memory_format=torch.channels_last_3d), target)


@pytest.mark.parametrize("spatial", [(3, 40), (9, 90)], ids=["dense", "upsampled"])
def test_ignored_pixels_may_hold_anything(spatial: tuple[int, int]) -> None:
    logits, target = case((3, 40), 19, spatial, batch=1)
    target[:] = IGNORED
    logits[0, :, 0] = math.nan
    logits[0, :, 1] = math.inf
    losses = pixel_losses(logits, target, None, IGNORED, 0.0)
    assert torch.all(losses == -1)
    packed = solve(losses.view(1, -1), None, WeightingSet(1.3, 0.25), True)
    found = gradient(
        torch.ones(1), logits, target, None, losses, packed, IGNORED, 0.0, WeightingSet(1.3, 0.25)
    )
    assert found.count_nonzero() == 0


@pytest.mark.parametrize("at", [0, 16, 39])
def test_extreme_logits(at: int) -> None:
    """Matches torch at every position in the vector, without affecting neighboring pixels."""
    for column in (
        [0.0, -1e30, 1e30],
        [-1e30, -1e30, -1e30],
        [1e30, 1e30, 1e30],
        [0.0, -math.inf, -math.inf],
        [-math.inf, 0.0, 0.0],
        [math.nan, 0.0, 0.0],
        [0.0, 0.0, math.nan],
        [math.inf, 0.0, 0.0],
        [0.0, math.inf, 0.0],
        [-0.0, -0.0, 0.0],
        [200.0, 0.0, 0.0],
        [0.0, 100.0, 0.0],
    ):
        logits = torch.zeros(1, 3, 1, 40)
        logits[0, :, 0, at] = torch.tensor(column)
        target = torch.zeros(1, 1, 40, dtype=torch.int64)
        found = pixel_losses(logits, target, None, -100, 0.0)
        expected = F.cross_entropy(logits, target, reduction="none")
        torch.testing.assert_close(found, expected, rtol=FLOAT32, atol=FLOAT32, equal_nan=True)
        assert not found[~found.isnan()].signbit().any()


def test_a_confident_loss_is_never_minus_zero() -> None:
    logits = torch.tensor([50.0, 0.0, -3.0]).view(1, 3, 1, 1).expand(1, 3, 1, 40)
    losses = pixel_losses(logits, torch.zeros(1, 1, 40, dtype=torch.int64), None, -100, 0.0)
    assert torch.all(losses == 0)
    assert not losses.signbit().any()


@pytest.mark.parametrize("wrong", [-1, 3, 1000, 2**32, -(2**40)])
@pytest.mark.parametrize("spatial", [(4, 5), (9, 11)], ids=["dense", "upsampled"])
def test_a_wrong_label_is_nan_and_no_other_loss(wrong: int, spatial: tuple[int, int]) -> None:
    logits, target = torch.randn(1, 3, 4, 5), torch.ones(1, *spatial, dtype=torch.int64)
    target[0, 2, 3] = wrong
    losses = pixel_losses(logits, target, None, -100, 0.0)
    assert losses.isnan().nonzero().tolist() == [[0, 2, 3]]


@pytest.mark.parametrize("spatial", [(33, 70), (99, 200)], ids=["dense", "upsampled"])
def test_a_pool_without_a_value_has_no_gradient(spatial: tuple[int, int]) -> None:
    logits, target = case((33, 70), 5, spatial)
    logits[1, 2, 3, 4] = math.nan
    losses = pixel_losses(logits, target, None, IGNORED, 0.0)
    packed = solve(losses.view(2, -1), None, WeightingSet(1.3, 0.25), True)
    found = gradient(
        torch.ones(2), logits, target, None, losses, packed, IGNORED, 0.0, WeightingSet(1.3, 0.25)
    )
    assert packed[0].isnan().tolist() == [False, True]
    assert found[0].isfinite().all()
    assert found[1].isnan().any()


@pytest.mark.parametrize("low", [(90, 130), (12, 17)], ids=["dense", "upsampled"])
def test_same_bits_for_any_number_of_threads(
    low: tuple[int, int], threads: Callable[[int], AbstractContextManager[None]]
) -> None:
    logits, target = case(low, 19, (90, 130), batch=3)
    found = []
    for number in (1, 2, 3):
        with threads(number):
            losses = pixel_losses(logits, target, None, IGNORED, 0.1)
            packed = solve(losses.view(1, -1), None, WeightingSet(1.3, 0.25), True)
            slope = gradient(
                torch.ones(1),
                logits,
                target,
                None,
                losses,
                packed,
                IGNORED,
                0.1,
                WeightingSet(1.3, 0.25),
            )
            found.append((losses, slope))
    for other in found[1:]:
        assert torch.equal(other[0], found[0][0])
        assert torch.equal(other[1], found[0][1])
