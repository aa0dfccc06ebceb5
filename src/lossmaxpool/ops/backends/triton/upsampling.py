"""Logits smaller than the target: upsampled in registers, without storing the scores.

``align_corners=False`` puts pixel o of ``out`` at ``(2 o + 1) in / (2 out) - 1 / 2`` of ``in``.
The numerator is exact, so that cell borders are exact. Cell j holds the pixels between
low-resolution pixels j - 1 and j, for j = 0, ..., in; at both ends the border pixel replaces the
missing neighbor. For an integer scale s, an inner cell has s x s pixels.

A thread scores up to 8 neighbors in a row of a cell: it mixes a class's four corner logits along
the columns once, and every score is one more step between the two results. The gradient, in
:mod:`lossmaxpool.ops.backends.triton.upsampling_gradient`, works by whole cells.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import Planes, by_form, own_planes
from lossmaxpool.ops.backends.triton.cross_entropy import (
    IGNORED,
    Numbers,
    Terms,
    absorb,
    as_label,
    class_weights,
    margin,
    pixel_loss,
    spread_sum,
)
from lossmaxpool.ops.backends.triton.launch import Launch, on_device_of

# One row of a cell or one cell per thread.
THREADS, WARPS = 128, 4
# Pixels of a row per thread, and the sizes of a block of classes: up to 64 scores per thread.
ALONG, ROW_CLASSES = 8, (4, 8)


@triton.jit
def load_lanes(tensor, places, mask, other):
    """Load (classes or pixels, cells) with the lanes along the cells.

    Neighbors along the first axis may be contiguous; the compiler would give them to neighboring
    lanes and exchange data between threads. The hint, which must be where the address is computed,
    claims more contiguous neighbors along the cells. That is false, and only chooses the layout:
    the compiler widens an access if it knows the divisibility of its offset, which is why the
    kernels do not specialize the sizes of a plane.
    """
    return tl.load(tl.max_contiguous(tensor + places, [1, 16]), mask=mask, other=other)


@triton.jit
def store_lanes(tensor, places, value, mask):
    """Store (classes or pixels, cells) in the layout of :func:`load_lanes`."""
    value = value.to(tensor.dtype.element_ty)
    tl.store(tl.max_contiguous(tensor + places, [1, 16]), value, mask=mask)


@triton.jit
def axis_cell(o, size, out):
    """The cell of pixel ``o`` along one axis of ``size`` low-resolution pixels."""
    position = (2 * o + 1) * size - out
    return tl.where(position < 0, 0, position // (2 * out) + 1)


@triton.jit
def axis_start(cell, size, out):
    """The first pixel of a cell."""
    numerator = tl.maximum((2 * cell - 1) * out - size, 0)
    return tl.minimum((numerator + 2 * size - 1) // (2 * size), out)


@triton.jit
def axis_fraction(o, cell, size, out):
    """Position of pixel ``o`` between neighbors ``cell - 1`` and ``cell``, in [0, 1].

    In the outer cells, both neighbors are the same pixel; any fraction would do.
    """
    position = (2 * o + 1) * size - out
    inside = (position - 2 * out * (cell - 1)).to(tl.float32) * (1.0 / (2 * out).to(tl.float32))
    return tl.where(cell == 0, 1.0, tl.where(cell == size, 0.0, inside))


@triton.jit
def corners_of(row, column, stride_h, low_h, low_w):
    """Offsets in a plane of a cell's corners: top left, top right, bottom left, bottom right."""
    top, bottom = tl.maximum(row - 1, 0) * stride_h, tl.minimum(row, low_h - 1) * stride_h
    left, right = tl.maximum(column - 1, 0), tl.minimum(column, low_w - 1)
    return top + left, top + right, bottom + left, bottom + right


@triton.jit
def load_corners(image, ta, tb, tc, td, places, mask):
    """The four corners' logits in float32; 0 where masked."""
    a = load_lanes(image, ta + places, mask, 0.0).to(tl.float32)
    b = load_lanes(image, tb + places, mask, 0.0).to(tl.float32)
    c = load_lanes(image, tc + places, mask, 0.0).to(tl.float32)
    d = load_lanes(image, td + places, mask, 0.0).to(tl.float32)
    return a, b, c, d


@triton.jit
def mix(low, high, fraction):
    return low + fraction * (high - low)


@triton.jit
def row_of_cell(
    program, low_h, low_w, height, width, segments,
    INDEX: tl.constexpr, ALONG: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Every thread's pixels, neighbors in a row of a cell: i (M,), j and inside (ALONG, M)."""
    place = tl.full([], program, INDEX) * BLOCK_M + tl.arange(0, BLOCK_M)
    piece = place // segments
    i, column = piece // (low_w + 1), piece % (low_w + 1)
    present = i < height
    first = axis_start(column, low_w, width) + (place % segments) * ALONG
    j = first[None, :] + tl.arange(0, ALONG)[:, None]
    end = axis_start(column + 1, low_w, width)
    return i, j, axis_cell(i, low_h, height), column, present, present[None, :] & (j < end[None, :])


@triton.jit
def own_logits(
    image, target, i, j, inside, y, x, ta, tb, tc, td, ignore_index, stride_c, width,
    C: tl.constexpr,
):  # fmt: skip
    """Labels, which are valid, which are classes, and their logits: all (pixels, cells)."""
    read = load_lanes(target, i[None, :] * width + j, inside, 0)
    label, exists, known = as_label(read, inside, ignore_index, C)
    places = label.to(j.dtype) * stride_c
    a, b, c, d = load_corners(
        image, ta[None, :], tb[None, :], tc[None, :], td[None, :], places, inside
    )
    return label, exists, known, mix(mix(a, c, y[None, :]), mix(b, d, y[None, :]), x)


@triton.jit(do_not_specialize=[
    "ignore_index", "first_source", "first_image", "low_h", "low_w", "height", "width",
    "stride_h", "segments", "tiles",
])  # fmt: skip
def upsampled_losses_kernel(
    logits, target, weight, weight_sum, losses,  # (B, C, h, w), (B, H, W), (C,), (), (B, H, W)
    ignore_index, keep, spread, first_source, first_image,
    stride_b, stride_c, stride_h, low_h, low_w, height, width, segments, tiles,
    C: tl.constexpr, HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    MARGIN: tl.constexpr, INDEX: tl.constexpr,
    BLOCK_C: tl.constexpr, ALONG: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Program: some rows of cells of an image. With MARGIN, write lse - own logit.

    The logits begin with image ``first_source``, the target with ``first_image``.
    """
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    i, j, row, column, present, inside = row_of_cell(
        program % tiles, low_h, low_w, height, width, segments, INDEX, ALONG, BLOCK_M
    )
    y = axis_fraction(i, row, low_h, height)
    x = axis_fraction(j, column[None, :], low_w, width)
    size = tl.full([], height, tl.int64) * width
    target += (first_image + image) * size
    losses += image * size
    logits += (first_source + image) * stride_b
    stride = tl.full([], stride_c, INDEX)
    ta, tb, tc, td = corners_of(row, column, stride_h, low_h, low_w)
    if SMOOTH:
        label, exists, known_label, own = own_logits(
            logits, target, i, j, inside, y, x, ta, tb, tc, td, ignore_index, stride, width, C
        )
    peak = tl.full([ALONG, BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([ALONG, BLOCK_M], tl.float32)
    smoothed = tl.zeros([ALONG, BLOCK_M], tl.float32)
    for first in range(0, C, BLOCK_C):
        classes = first + tl.arange(0, BLOCK_C)
        known = classes < C
        a, b, c, d = load_corners(
            logits, ta[None, :], tb[None, :], tc[None, :], td[None, :],
            (classes * stride)[:, None], known[:, None] & present[None, :],
        )  # fmt: skip
        start, end = mix(a, c, y[None, :]), mix(b, d, y[None, :])
        scores = mix(start[:, None, :], end[:, None, :], x[None, :, :])
        scores = tl.where(known[:, None, None], scores, float("-inf"))
        peak, total = absorb(scores, peak, total)
        if SMOOTH:
            weights = class_weights(weight, classes, known, WEIGHTED)
            smoothed += spread_sum(
                scores, known[:, None, None], weights[:, None, None], own[None, :, :]
            )
    if not SMOOTH:  # after the loop: it would hold registers
        label, exists, known_label, own = own_logits(
            logits, target, i, j, inside, y, x, ta, tb, tc, td, ignore_index, stride, width, C
        )
    n = i[None, :] * width + j
    if MARGIN:
        store_lanes(losses, n, margin(peak, total, own), inside)
    else:
        loss = pixel_loss(
            peak, total, own, smoothed, weight, weight_sum, label, keep, spread, C,
            HARD, SMOOTH, WEIGHTED,
        )  # fmt: skip
        loss = tl.where(known_label, loss, float("nan"))
        store_lanes(losses, n, tl.where(exists, loss, IGNORED), inside)


class Geometry(NamedTuple):
    """The sizes of an upsampling. The logits' rows are contiguous."""

    low: Planes
    high: Planes
    index: Any  # the integer type of offsets within an image

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.low.height, self.low.width, self.high.height, self.high.width

    @property
    def cells(self) -> int:
        return (self.low.height + 1) * (self.low.width + 1)

    @property
    def cell(self) -> tuple[int, int]:
        """The largest number of pixels of a cell along both axes."""
        return (
            triton.cdiv(self.high.height, self.low.height),
            triton.cdiv(self.high.width, self.low.width),
        )

    @property
    def terms(self) -> int:
        """The number of slots for the pixels of an image, in the order of the cells."""
        return self.cells * self.cell[0] * self.cell[1]

    @property
    def rows(self) -> tuple[int, int, int]:
        """Pixels per thread along a row of a cell, threads per row, programs per image."""
        along = min(ALONG, triton.next_power_of_2(self.cell[1]))
        segments = triton.cdiv(self.cell[1], along)
        threads = self.high.height * (self.low.width + 1) * segments
        return along, segments, triton.cdiv(threads, THREADS)


def geometry(logits: Tensor, target: Tensor, *others: Tensor) -> Geometry:
    """The sizes for (B, C, *low) tensors and a target; 32-bit offsets where they suffice."""
    low, high = own_planes(logits, *others), own_planes(target.unsqueeze(1))
    sizes, classes = Geometry(low, high, tl.int64), logits.shape[1] + THREADS
    axes = ((low.height, high.height), (low.width, high.width))
    largest = max(
        *(classes * s.channel + low.height * s.row + low.width * s.column for s in low.strides),
        *(4 * (size + 1) * (out + 1) for size, out in axes),
        4 * classes * sizes.cells, 2 * sizes.terms, 2 * THREADS * sizes.rows[2],
    )  # fmt: skip
    return sizes._replace(index=tl.int32) if largest < 2**31 else sizes


def with_contiguous_rows(logits: Tensor) -> Tensor:
    """Copy logits in channels_last order: they are few, and each is read for many scores."""
    return logits if logits.stride(-1) == 1 else logits.contiguous()


def upsampled_losses(logits: Tensor, target: Tensor, ignore_index: int, loss: Terms) -> Tensor:
    """(B, C, *low) logits, contiguous (B, *spatial) target -> (B, *spatial) float32."""
    losses = torch.empty(target.shape, dtype=torch.float32, device=logits.device)
    if losses.numel() == 0:
        return losses
    logits = with_contiguous_rows(logits)
    launch = upsampled_launch(logits, target, ignore_index, loss.numbers)
    with on_device_of(logits):
        launch(logits, target, loss.weight, loss.weight_sum, losses)
    return losses


@by_form(tensors=2)
def upsampled_launch(logits: Tensor, target: Tensor, ignore_index: int, loss: Numbers) -> Launch:
    sizes, (batch, classes) = geometry(logits, target), logits.shape[:2]
    return rows_launch(sizes, batch, classes, ignore_index, loss)


def rows_launch(
    sizes: Geometry,
    images: int,
    classes: int,
    ignore_index: int,
    loss: Numbers,
    *,
    first_source: int = 0,
    first_image: int = 0,
    only_margins: bool = False,
) -> Launch:
    """The launch for ``images`` images of the target from ``first_image`` on."""
    along, segments, tiles = sizes.rows
    # A block costs an exponential a class, and one more to rescale the sum.
    block = min(ROW_CLASSES, key=lambda size: triton.cdiv(classes, size) * (size + 1))
    strides = sizes.low.strides[0]
    return Launch(
        upsampled_losses_kernel, (tiles * images,),
        ignore_index, loss.keep, loss.spread, first_source, first_image,
        strides.image, strides.channel, strides.row, *sizes.sizes, segments, tiles,
        C=classes, **loss._replace(smooth=loss.smooth and not only_margins).flags,
        MARGIN=only_margins, INDEX=sizes.index,
        BLOCK_C=block, ALONG=along, BLOCK_M=THREADS, num_warps=WARPS,
    )  # fmt: skip
