"""Logits of the target's size, in every dtype, layout and number of classes."""

from __future__ import annotations

import pytest
import torch

from lossmaxpool.ops.backends.triton import kernels
from lossmaxpool.ops.weighting_set import WeightingSet
from tests.ops.triton.kernels.reference import IGNORE, check, problem, run

DTYPES = [
    (torch.bfloat16, torch.uint8),
    (torch.float16, torch.int8),
    (torch.float32, torch.int16),
    (torch.bfloat16, torch.int32),
]


@pytest.mark.parametrize("classes", [1, 2, 19, 21, 33, 150, 1000])
def test_any_number_of_classes(classes: int, device: torch.device) -> None:
    check(problem(2, classes, (5, 7)), 1.3, device, pools=2)


@pytest.mark.parametrize("spatial", [(1, 1), (1, 513), (23, 29), (), (11,), (2, 3, 5)])
def test_any_size(spatial: tuple[int, ...], device: torch.device) -> None:
    case = problem(2, 3, spatial, ignored=0.0)
    check(case, 1.3, device, pools=2)
    check(case, 1.3, device, pools=1)


@pytest.mark.parametrize(("dtype", "label"), DTYPES)
def test_any_dtype(dtype: torch.dtype, label: torch.dtype, device: torch.device) -> None:
    ignored = 0.0 if label == torch.int8 else 0.25  # which cannot hold 255
    case = problem(1, 5, (8, 9), dtype=dtype, ignored=ignored)
    check(case, 1.7, device, pools=1, label=label)


@pytest.mark.parametrize("p", [1.01, 2.0, 100.0, float("inf")])
def test_any_exponent(p: float, device: torch.device) -> None:
    check(problem(2, 19, (8, 13)), p, device, pools=2)


@pytest.mark.parametrize(("weighted", "smoothing"), [(True, 0.0), (False, 0.1), (True, 1.0)])
def test_weights_and_smoothing(weighted: bool, smoothing: float, device: torch.device) -> None:
    case = problem(2, 21, (6, 7), weighted=weighted, smoothing=smoothing)
    check(case, 1.3, device, pools=2)


@pytest.mark.parametrize("pools", [1, 2, 4])
def test_a_pool_is_consecutive_images(pools: int, device: torch.device) -> None:
    check(problem(4, 3, (5, 5)), 1.3, device, pools=pools)


@pytest.mark.parametrize("layout", ["crop", "channels last", "transposed", "sliced channels"])
def test_any_strides(layout: str, device: torch.device) -> None:
    case = problem(2, 5, (12, 16))
    logits, target = case.logits, case.target
    if layout == "crop":
        logits, target = logits[:, :, 2:9, 3:14], target[:, 2:9, 3:14]
    elif layout == "channels last":
        logits = logits.contiguous(memory_format=torch.channels_last)
    elif layout == "transposed":
        logits = logits.transpose(2, 3).contiguous().transpose(2, 3)
    else:
        logits, target = logits[:, ::2], target.clamp_(max=IGNORE).where(target < 3, IGNORE)
    check(case._replace(logits=logits, target=target), 1.3, device, pools=2)


@pytest.mark.parametrize(("classes", "size", "dtype"), [
    (2, (5, 7), torch.float32), (3, (16, 33), torch.bfloat16), (5, (2, 8), torch.bfloat16),
    (16, (6, 8), torch.float32), (19, (4, 66), torch.bfloat16), (40, (3, 5), torch.float32),
])  # fmt: skip
def test_classes_side_by_side(
    classes: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> None:
    """Runs of neighboring logits begin and end within pixels; tiles end within an image."""
    for extra in ({}, {"weighted": True, "smoothing": 0.1}):
        case = problem(2, classes, size, dtype=dtype, **extra)
        logits = case.logits.contiguous(memory_format=torch.channels_last)
        check(case._replace(logits=logits), 1.3, device, pools=2)


def test_a_common_offset_costs_no_precision(device: torch.device) -> None:
    case = problem(1, 7, (4, 5), smoothing=0.2)
    check(case._replace(logits=(case.logits * 64).round() / 64 + 4096), 1.3, device, pools=1)


def test_same_bits_again(device: torch.device) -> None:
    case = problem(2, 19, (9, 31))
    first, again = (run(case, 1.3, device, 1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_may_overwrite_the_logits(
    smoothing: float, layout: torch.memory_format, device: torch.device
) -> None:
    case = problem(2, 19, (9, 16), smoothing=smoothing)
    logits = case.logits.to(device).contiguous(memory_format=layout)
    losses, _, truth = run(case._replace(logits=logits), 1.3, device, 2)
    target, weighting = case.target.to(device), WeightingSet(1.3, 0.25)
    losses = losses.to(device)
    packed = kernels.solve(losses.view(2, -1), None, weighting, True)
    outer, numbers = torch.arange(1.0, 3, device=device), (IGNORE, smoothing, weighting)
    found = kernels.gradient(outer, logits, target, None, losses, packed, *numbers, logits)
    assert found is logits
    assert torch.equal(found.cpu(), truth)
