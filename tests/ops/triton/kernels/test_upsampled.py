"""Low-resolution logits: any ratio per axis, and its exact transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton.language as tl

from lossmaxpool.ops.backends.triton import upsampling, upsampling_gradient
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
    ((2, 2), (3, 37)),  # rows of a cell longer than a thread's
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


def unprepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare launches at every call, for another scratch or another type of offsets."""
    for module, name in (
        (upsampling, "upsampled_launch"),
        (upsampling_gradient, "gradient_launches"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name).__wrapped__)


@pytest.mark.parametrize(
    ("layout", "smoothing"), [(torch.contiguous_format, 0.0), (torch.channels_last, 0.1)]
)
def test_the_size_of_the_scratch_decides_nothing(
    layout: torch.memory_format,
    smoothing: float,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = problem(3, 3, (3, 2), (7, 6), smoothing=smoothing)
    case = case._replace(logits=case.logits.contiguous(memory_format=layout))
    unprepared(monkeypatch)
    one_by_one = run(case, 1.0, device, 1)
    monkeypatch.setattr(upsampling_gradient, "scratch_of", scratch_for(2))
    for ours, truth in zip(run(case, 1.0, device, 1), one_by_one, strict=True):
        assert torch.equal(ours, truth)


def scratch_for(images: int) -> Callable[..., upsampling_gradient.Scratch]:
    original = upsampling_gradient.scratch_of

    def scratch_of(*args: Any, plain: bool) -> upsampling_gradient.Scratch:
        one = original(*args, plain=plain)
        assert one.images == 1
        terms, corners, margins = (images * number for number in one[1:4])
        return one._replace(images=images, terms=terms, corners=corners, margins=margins)

    return scratch_of


def test_offsets_of_64_bits(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    unprepared(monkeypatch)
    original = upsampling.geometry
    for module in (upsampling, upsampling_gradient):
        monkeypatch.setattr(
            module, "geometry", lambda *given: original(*given)._replace(index=tl.int64)
        )
    check(problem(2, 3, (3, 4), (7, 16), weighted=True), 1.3, device, pools=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("classes", "low", "spatial"), [(19, 128, 1024), (150, 64, 512)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_beside_eager(
    dtype: torch.dtype, classes: int, low: int, spatial: int, layout: torch.memory_format
) -> None:
    """The losses, the scratch and the gradient take at most 5 % of three maps of the scores."""
    logits = torch.empty(16, classes, low, low, dtype=dtype, device="meta", memory_format=layout)
    target = torch.empty(16, spatial, spatial, device="meta")
    sizes = upsampling.geometry(upsampling.with_contiguous_rows(logits), target)
    assert sizes.index == tl.int32
    scratch = upsampling_gradient.scratch_of(sizes, 16, classes, dtype, plain=True)
    copied = 0 if logits.is_contiguous() else logits.nbytes // 16 * scratch.images
    ours = 4 * target.numel() + scratch.bytes + copied + logits.nbytes
    assert ours <= 0.05 * 3 * classes * target.numel() * dtype.itemsize


def test_64_bits_where_an_image_needs_them() -> None:
    logits = torch.empty(1, 150, 3000, 3000, dtype=torch.bfloat16, device="meta")
    sizes = upsampling.geometry(logits, torch.empty(1, 6000, 6000, device="meta"))
    assert sizes.index == tl.int64
