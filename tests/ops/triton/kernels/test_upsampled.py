"""Low-resolution logits: any ratio per axis, and its exact transpose."""

from __future__ import annotations

import pytest
import torch

from tests.ops.triton.kernels.reference import check, problem, run

RATIOS = [
    ((3, 4), (24, 32)),  # x8
    ((4, 3), (8, 6)),  # x2
    ((7, 5), (19, 11)),  # neither an integer
    ((1, 3), (5, 9)),  # a single row
    ((6, 4), (6, 12)),  # one axis only
    ((1, 1), (3, 7)),
    ((17, 9), (18, 10)),  # barely larger
    ((5,), (13,)),
]


@pytest.mark.parametrize(("low", "spatial"), RATIOS)
def test_any_ratio(low: tuple[int, ...], spatial: tuple[int, ...], device: torch.device) -> None:
    check(problem(2, 5, low, spatial), 1.3, device, pools=2)


@pytest.mark.parametrize("classes", [1, 2, 19, 33])
def test_any_number_of_classes(classes: int, device: torch.device) -> None:
    check(problem(1, classes, (3, 4), (7, 16)), 1.3, device, pools=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype, device: torch.device) -> None:
    case = problem(2, 6, (3, 4), (12, 16), dtype=dtype)
    check(case, 1.7, device, pools=1, label=torch.uint8)


@pytest.mark.parametrize(("weighted", "smoothing"), [(True, 0.0), (False, 0.1), (True, 1.0)])
def test_weights_and_smoothing(weighted: bool, smoothing: float, device: torch.device) -> None:
    case = problem(2, 10, (3, 4), (7, 16), weighted=weighted, smoothing=smoothing)
    check(case, 1.3, device, pools=2)


@pytest.mark.parametrize("layout", ["crop", "channels last"])
def test_any_strides(layout: str, device: torch.device) -> None:
    case = problem(2, 5, (6, 8), (9, 17))
    logits = case.logits.contiguous(memory_format=torch.channels_last)
    if layout == "crop":
        logits = case.logits[:, :, 1:4, 2:7]
    check(case._replace(logits=logits), 1.3, device, pools=2)


def test_same_bits_again(device: torch.device) -> None:
    case = problem(2, 9, (5, 4), (13, 16))
    first, again = (run(case, 1.3, device, 1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
