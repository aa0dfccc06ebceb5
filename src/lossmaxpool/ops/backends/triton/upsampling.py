"""Logits smaller than the target: upsampled in registers, without storing the scores.

``align_corners=False`` puts pixel o of ``out`` at ``(2 o + 1) in / (2 out) - 1 / 2`` of ``in``.
The numerator is exact, so that cell borders are exact and the fraction is rounded only once.
Cell j holds the pixels between low-resolution pixels j - 1 and j, for j = 0, ..., in; at both ends
the border pixel replaces the missing neighbor. For an integer scale s, an inner cell has s x s
pixels.

The gradient uses no atomics: a program processes cells and a block of classes, one cell per thread.
The four corner logits and the four gradient sums of the corners stay in registers while it loops
over the cell's pixels. A second kernel gathers each low-resolution pixel from its four cells.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import by_form, own_planes
from lossmaxpool.ops.backends.triton.cross_entropy import (
    IGNORED,
    Numbers,
    Terms,
    absorb,
    class_derivative,
    class_weights,
    load_label,
    margin,
    pixel_loss,
    slopes,
    spread_sum,
)
from lossmaxpool.ops.backends.triton.launch import Launch, on_device_of
from lossmaxpool.ops.backends.triton.weights import Norm, load_pool, pool_weight


class Block(NamedTuple):
    """A block of classes by pixels or cells."""

    classes: int
    pixels: int
    warps: int


# One pixel per thread, 8 interpolated classes in flight: 96 registers; two pixels would take 174.
UPSAMPLED = Block(8, 128, 4)
# One cell per thread, 8 classes with four corner logits and four corner sums each: 178 registers.
# 16 classes would spill.
CELLS = Block(8, 128, 4)

# Up to Triton 3.6, if two axes are equally contiguous, the lanes go to the first one, the classes.
_LANES_ALONG_CLASSES = tuple(int(part) for part in version("triton").split(".")[:2]) < (3, 7)
HINT_LANES = tl.constexpr(_LANES_ALONG_CLASSES)


@triton.jit
def load_corner(corner, places, mask):
    """A corner's logits in float32, for pixels or (classes, pixels); 0 where masked.

    The hint puts the lanes along the pixels. It claims that two neighbors are contiguous, which may
    be false, so the strides along the image must not be specialized: the compiler widens a load
    only if it knows the divisibility of its offset.
    """
    pointers = corner + places
    if HINT_LANES and len(mask.shape) == 2:
        pointers = tl.max_contiguous(pointers, [1, 2])
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def axis_cell(o, size, out):
    """The cell of pixel ``o`` along one axis of ``size`` low-resolution pixels."""
    position = (2 * o.to(tl.int64) + 1) * size - out
    return tl.where(position < 0, 0, position // (2 * out) + 1)


@triton.jit
def axis_start(cell, size, out):
    """The first pixel of a cell."""
    numerator = tl.maximum((2 * cell.to(tl.int64) - 1) * out - size, 0)
    return tl.minimum((numerator + 2 * size - 1) // (2 * size), out)


@triton.jit
def axis_fraction(o, cell, size, out):
    """Position of pixel ``o`` between neighbors ``cell - 1`` and ``cell``, in [0, 1].

    In the outer cells, both neighbors are the same pixel; the fraction then selects the one inside.
    """
    position = (2 * o.to(tl.int64) + 1) * size - out
    inside = (position - 2 * out * (cell - 1)).to(tl.float32) / (2 * out).to(tl.float32)
    return tl.where(cell == 0, 1.0, tl.where(cell == size, 0.0, inside))


@triton.jit
def corners_of(row, column, stride_h, stride_w, low_h, low_w):
    """Offsets in a plane of a cell's corners: top left, top right, bottom left, bottom right."""
    top, bottom = tl.maximum(row - 1, 0) * stride_h, tl.minimum(row, low_h - 1) * stride_h
    left, right = tl.maximum(column - 1, 0) * stride_w, tl.minimum(column, low_w - 1) * stride_w
    return top + left, top + right, bottom + left, bottom + right


@triton.jit
def mix(low, high, fraction):
    return (1 - fraction) * low + fraction * high


@triton.jit
def mixed(top_left, top_right, bottom_left, bottom_right, places, mask, y, x):
    """Interpolate between the logits at the four corners, of any shape, in float32."""
    a = load_corner(top_left, places, mask)
    b = load_corner(top_right, places, mask)
    c = load_corner(bottom_left, places, mask)
    d = load_corner(bottom_right, places, mask)
    return mix(mix(a, c, y), mix(b, d, y), x)


@triton.jit(do_not_specialize=[
    "ignore_index", "tiles", "width", "height", "low_w", "low_h", "stride_h", "stride_w",
])  # fmt: skip
def upsampled_losses_kernel(
    logits, target, weight, weight_sum, losses,  # (B, C, h, w), (B, H, W), (C,), (), (B, H, W)
    ignore_index, keep, spread,
    stride_b, stride_c, stride_h, stride_w, low_h, low_w, height, width, tiles,
    C: tl.constexpr, HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    MARGIN: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Program: one tile of one image's pixels. With MARGIN, write lse - own logit."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    n = (program % tiles).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    size = tl.full([], height, tl.int64) * width
    inside = n < size
    label, exists, known_label = load_label(target + image * size, n, inside, ignore_index, C)
    i, j = n // width, n % width
    row, column = axis_cell(i, low_h, height), axis_cell(j, low_w, width)
    y, x = axis_fraction(i, row, low_h, height), axis_fraction(j, column, low_w, width)
    base = logits + image * stride_b
    ta, tb, tc, td = corners_of(row, column, stride_h, stride_w, low_h, low_w)
    a, b, c, d = base + ta, base + tb, base + tc, base + td
    stride = tl.full([], stride_c, tl.int64)
    own = mixed(a, b, c, d, label * stride, inside, y, x)
    wide_a, wide_b, wide_c, wide_d = a[None, :], b[None, :], c[None, :], d[None, :]

    peak = tl.full([BLOCK_N], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_N], tl.float32)
    smoothed = tl.zeros([BLOCK_N], tl.float32)
    for first in range(0, C, BLOCK_C):
        classes = first + tl.arange(0, BLOCK_C)
        known = classes < C
        scores = mixed(
            wide_a, wide_b, wide_c, wide_d, (classes * stride)[:, None],
            known[:, None] & inside[None, :], y[None, :], x[None, :],
        )  # fmt: skip
        scores = tl.where(known[:, None], scores, float("-inf"))
        peak, total = absorb(scores, peak, total)
        if SMOOTH:
            weights = class_weights(weight, classes, known, WEIGHTED)
            smoothed += spread_sum(scores, known, weights, own)
    if MARGIN:
        tl.store(losses + image * size + n, margin(peak, total, own), mask=inside)
    else:
        loss = pixel_loss(
            peak, total, own, smoothed, weight, weight_sum, label, keep, spread, C,
            HARD, SMOOTH, WEIGHTED,
        )  # fmt: skip
        loss = tl.where(known_label, loss, float("nan"))
        tl.store(losses + image * size + n, tl.where(exists, loss, IGNORED), mask=inside)


def upsampled_losses(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    loss: Terms,
    *,
    only_margins: bool = False,
) -> Tensor:
    """(B, C, *low) logits, contiguous (B, *spatial) target -> (B, *spatial) float32."""
    losses = torch.empty(target.shape, dtype=torch.float32, device=logits.device)
    if losses.numel() == 0:
        return losses
    launch = _losses_launch(logits, target, ignore_index, loss.numbers, only_margins)
    with on_device_of(logits):
        launch(logits, target, loss.weight, loss.weight_sum, losses)
    return losses


@by_form(tensors=2)
def _losses_launch(
    logits: Tensor, target: Tensor, ignore_index: int, loss: Numbers, only_margins: bool
) -> Launch:
    low, high, tile = own_planes(logits), own_planes(target.unsqueeze(1)), UPSAMPLED
    tiles = triton.cdiv(high.height * high.width, tile.pixels)
    return Launch(
        upsampled_losses_kernel, (tiles * logits.shape[0],),
        ignore_index, loss.keep, loss.spread,
        *low.strides[0], low.height, low.width, high.height, high.width, tiles,
        C=logits.shape[1], **loss._replace(smooth=loss.smooth and not only_margins).flags,
        MARGIN=only_margins, BLOCK_C=tile.classes, BLOCK_N=tile.pixels, num_warps=tile.warps,
    )  # fmt: skip


@triton.jit(do_not_specialize=[
    "ignore_index", "tiles", "width", "height", "low_w", "low_h", "pools", "images_per_pool",
    "cell_h", "cell_w", "stride_h", "stride_w",
])  # fmt: skip
def cells_kernel(
    grad_value, packed, logits, target, weight, weight_sum, losses, margins, corners,
    ignore_index, keep, spread, exponent, pools, images_per_pool,
    stride_b, stride_c, stride_h, stride_w, low_h, low_w, height, width, cell_h, cell_w, tiles,
    C: tl.constexpr, NORM: tl.constexpr,
    HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Program (tile of cells of an image, block of classes) -> corners (B, 4, C, M)."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    cells = (tl.full([], low_h, tl.int64) + 1) * (low_w + 1)
    cell = (program % tiles).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    present = cell < cells
    row, column = cell // (low_w + 1), cell % (low_w + 1)
    classes = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = classes < C
    stride = tl.full([], stride_c, tl.int64)

    base = logits + image * stride_b
    ta, tb, tc, td = corners_of(row, column, stride_h, stride_w, low_h, low_w)
    places = (classes * stride)[:, None]
    mask = known[:, None] & present[None, :]
    a = load_corner((base + ta)[None, :], places, mask)
    b = load_corner((base + tb)[None, :], places, mask)
    c = load_corner((base + tc)[None, :], places, mask)
    d = load_corner((base + td)[None, :], places, mask)

    pool = image // images_per_pool
    threshold, cap, scale = load_pool(packed, pool, pools, exponent, NORM)
    outer = tl.load(grad_value + pool)
    weights = class_weights(weight, classes, known, WEIGHTED)

    first_i, end_i = axis_start(row, low_h, height), axis_start(row + 1, low_h, height)
    first_j, end_j = axis_start(column, low_w, width), axis_start(column + 1, low_w, width)
    size = tl.full([], height, tl.int64) * width
    to_a = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    to_b = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    to_c = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    to_d = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    down = tl.full([], 0, tl.int32)
    while down < cell_h:
        i = first_i + down
        y = axis_fraction(i, row, low_h, height)
        start, end = mix(a, c, y[None, :]), mix(b, d, y[None, :])
        to_start = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
        to_end = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
        along = tl.full([], 0, tl.int32)
        while along < cell_w:
            j = first_j + along
            inside = present & (i < end_i) & (j < end_j)
            x = axis_fraction(j, column, low_w, width)
            n = i * width + j
            label, exists, _ = load_label(target + image * size, n, inside, ignore_index, C)
            loss = tl.load(losses + image * size + n, mask=inside, other=0.0)
            gap = tl.load(margins + image * size + n, mask=inside, other=0.0)
            own = mixed(base + ta, base + tb, base + tc, base + td, label * stride, inside, y, x)
            keep_own, factor = slopes(
                weight, weight_sum, label, keep, spread, C, HARD, SMOOTH, WEIGHTED
            )
            share = outer * pool_weight(loss, threshold, cap, scale, exponent, NORM)
            scores = mix(start, end, x[None, :])
            slope = class_derivative(
                scores, own, gap, label, classes, weights, keep_own, factor, spread, HARD, SMOOTH
            )
            slope = tl.where(exists[None, :], share[None, :] * slope, 0.0)
            to_start += (1 - x)[None, :] * slope
            to_end += x[None, :] * slope
            along += 1
        to_a += (1 - y)[None, :] * to_start
        to_b += (1 - y)[None, :] * to_end
        to_c += y[None, :] * to_start
        to_d += y[None, :] * to_end
        down += 1
    # The compiler must not know that these stores are aligned: it would choose a layout of four
    # cells per thread, and the loops above would exchange data between threads at every pixel.
    out = corners + ((image * 4 * C + classes) * cells)[:, None] + cell[None, :]
    tl.store(out, to_a, mask=mask)
    tl.store(out + C * cells, to_b, mask=mask)
    tl.store(out + 2 * C * cells, to_c, mask=mask)
    tl.store(out + 3 * C * cells, to_d, mask=mask)


@triton.jit(do_not_specialize=["tiles", "low_w", "low_h"])
def gather_kernel(
    corners, gradient, out_b, out_c, out_h, out_w, low_h, low_w, tiles,
    C: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Program (tile of an image's pixels, block of classes): sum the four cells of each pixel."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    n = (program % tiles).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    classes = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    row, column = n // low_w, n % low_w
    mask = (classes < C)[:, None] & (row < low_h)[None, :]
    across = tl.full([], low_w, tl.int64) + 1
    cells = (tl.full([], low_h, tl.int64) + 1) * across
    # The pixel is the bottom right corner of cell (row, column).
    cell = row * across + column
    places = corners + ((image * 4 * C + classes) * cells)[:, None] + cell[None, :]
    bottom_right = tl.load(places + 3 * C * cells, mask=mask, other=0.0)
    bottom_left = tl.load(places + 2 * C * cells + 1, mask=mask, other=0.0)
    top_right = tl.load(places + C * cells + across, mask=mask, other=0.0)
    top_left = tl.load(places + across + 1, mask=mask, other=0.0)
    total = (bottom_right + bottom_left) + (top_right + top_left)
    out = gradient + image * out_b + (row * out_h + column * out_w)[None, :]
    out += (classes * tl.full([], out_c, tl.int64))[:, None]
    tl.store(out, total.to(gradient.dtype.element_ty), mask=mask)


def upsampled_gradient(
    grad_value: Tensor,
    logits: Tensor,
    target: Tensor,
    losses: Tensor,
    packed: Tensor,
    ignore_index: int,
    loss: Terms,
    shape: Norm,
) -> Tensor:
    """The gradient of (B, C, *low) logits; scratch of four float32 per logit and border cell."""
    gradient = torch.empty_like(logits)
    if gradient.numel() == 0:
        return gradient
    if losses.numel() == 0:
        return gradient.zero_()
    margins = losses
    if not loss.numbers.plain:
        margins = upsampled_losses(logits, target, ignore_index, loss, only_margins=True)
    cells, gather, size = _gradient_launches(
        logits, target, gradient, ignore_index, loss.numbers, shape, packed.shape[1]
    )
    corners = torch.empty(size, dtype=torch.float32, device=logits.device)
    with on_device_of(logits):
        cells(
            grad_value, packed, logits, target, loss.weight, loss.weight_sum, losses, margins,
            corners,
        )  # fmt: skip
        gather(corners, gradient)
    return gradient


@by_form(tensors=3)
def _gradient_launches(
    logits: Tensor,
    target: Tensor,
    gradient: Tensor,
    ignore_index: int,
    loss: Numbers,
    shape: Norm,
    pools: int,
) -> tuple[Launch, Launch, int]:
    """Both launches, and the number of corners."""
    low, high, out = own_planes(logits), own_planes(target.unsqueeze(1)), own_planes(gradient)
    (batch, classes), tile = logits.shape[:2], CELLS
    cells = (low.height + 1) * (low.width + 1)
    tiles, low_tiles = (triton.cdiv(n, tile.pixels) for n in (cells, low.height * low.width))
    blocks = triton.cdiv(classes, tile.classes)
    accumulate = Launch(
        cells_kernel, (tiles * batch, blocks),
        ignore_index, loss.keep, loss.spread, shape.exponent, pools, batch // pools,
        *low.strides[0], low.height, low.width, high.height, high.width,
        triton.cdiv(high.height, low.height), triton.cdiv(high.width, low.width), tiles,
        C=classes, NORM=shape.kind, **loss.flags,
        BLOCK_C=tile.classes, BLOCK_M=tile.pixels, num_warps=tile.warps,
    )  # fmt: skip
    gather = Launch(
        gather_kernel, (low_tiles * batch, blocks),
        *out.strides[0], low.height, low.width, low_tiles,
        C=classes, BLOCK_C=tile.classes, BLOCK_N=tile.pixels, num_warps=tile.warps,
    )  # fmt: skip
    return accumulate, gather, batch * 4 * classes * cells
