"""The gradient of low-resolution logits: by cells into scratch, then gathered. No atomics.

A program takes cells and a block of classes, one cell a thread: the four corner logits stay in
registers while it walks over the cell's pixels, and so do the four sums of what the pixels give
to the corners. A low-resolution pixel is a corner of four cells.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.planes import Planes, own_planes
from lossmaxpool.ops.backends.triton.cross_entropy import class_weights, load_label, total_weight
from lossmaxpool.ops.backends.triton.dense_gradient import class_derivative
from lossmaxpool.ops.backends.triton.devices import on_device_of
from lossmaxpool.ops.backends.triton.interpolation import (
    axis_fraction,
    axis_start,
    load_corner,
    lower,
    mix,
    upper,
)
from lossmaxpool.ops.backends.triton.pool_weight import Norm, load_pool, pool_weight
from lossmaxpool.ops.backends.triton.smoothing import Terms
from lossmaxpool.ops.backends.triton.tiles import CELLS
from lossmaxpool.ops.backends.triton.upsampled_losses import mixed, upsampled_losses


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
    top, bottom = base + lower(row) * stride_h, base + upper(row, low_h) * stride_h
    left, right = lower(column) * stride_w, upper(column, low_w) * stride_w
    places = (classes * stride)[:, None]
    mask = known[:, None] & present[None, :]
    a = load_corner((top + left)[None, :], places, mask)
    b = load_corner((top + right)[None, :], places, mask)
    c = load_corner((bottom + left)[None, :], places, mask)
    d = load_corner((bottom + right)[None, :], places, mask)

    pool = image // images_per_pool
    threshold, cap, scale = load_pool(packed, pool, pools, exponent, NORM)
    outer = tl.load(grad_value + pool)
    weights = class_weights(weight, classes, known, WEIGHTED)
    all_weights = 0.0
    if SMOOTH:
        all_weights = total_weight(weight_sum, C, WEIGHTED)

    first_i, end_i = axis_start(row, low_h, height), axis_start(row + 1, low_h, height)
    first_j, end_j = axis_start(column, low_w, width), axis_start(column + 1, low_w, width)
    size = tl.full([], height, tl.int64) * width
    to_a = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    to_b = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    to_c = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    to_d = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    for down in range(cell_h):
        i = first_i + down
        y = axis_fraction(i, row, low_h, height)
        start, end = mix(a, c, y[None, :]), mix(b, d, y[None, :])
        to_start = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
        to_end = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
        for along in range(cell_w):
            j = first_j + along
            inside = present & (i < end_i) & (j < end_j)
            x = axis_fraction(j, column, low_w, width)
            n = i * width + j
            label, exists, _ = load_label(target + image * size, n, inside, ignore_index, C)
            loss = tl.load(losses + image * size + n, mask=inside, other=0.0)
            gap = tl.load(margins + image * size + n, mask=inside, other=0.0)
            own = mixed(
                top + left, top + right, bottom + left, bottom + right, label * stride,
                inside, y, x,
            )  # fmt: skip
            keep_own = tl.zeros([BLOCK_M], tl.float32)
            if HARD:
                keep_own += keep
            if WEIGHTED:
                keep_own *= tl.load(weight + label)
            steepness = keep_own
            if SMOOTH:
                steepness += spread * all_weights
            share = outer * pool_weight(loss, threshold, cap, scale, exponent, NORM)
            scores = mix(start, end, x[None, :])
            slope = class_derivative(
                scores, own, gap, label, classes, weights, keep_own, steepness, spread, HARD, SMOOTH
            )
            slope = tl.where(exists[None, :], share[None, :] * slope, 0.0)
            to_start += (1 - x)[None, :] * slope
            to_end += x[None, :] * slope
        to_a += (1 - y)[None, :] * to_start
        to_b += (1 - y)[None, :] * to_end
        to_c += y[None, :] * to_start
        to_d += y[None, :] * to_end
    # No store is known to be aligned: one that were would have four cells a thread in its layout,
    # and the pixels' numbers would change hands at every step of the loops above.
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
    """Program (tile of an image's pixels, block of classes): what four cells give each pixel."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    n = (program % tiles).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    classes = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    row, column = n // low_w, n % low_w
    mask = (classes < C)[:, None] & (row < low_h)[None, :]
    across = tl.full([], low_w, tl.int64) + 1
    cells = (tl.full([], low_h, tl.int64) + 1) * across
    # Cell (row, column) has the pixel at its bottom right, the next ones at their other corners.
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
    weight: Tensor | None,
    losses: Tensor,
    packed: Tensor,
    ignore_index: int,
    loss_terms: Terms,
    shape: Norm,
    high: Planes,
) -> Tensor:
    """The gradient of (B, C, *low) logits; scratch of four float32 per logit and border cell."""
    gradient = torch.empty_like(logits)
    if gradient.numel() == 0:
        return gradient
    if losses.numel() == 0:
        return gradient.zero_()
    low, out, tile = own_planes(logits), own_planes(gradient), CELLS
    batch, classes = logits.shape[:2]
    cells = (low.height + 1) * (low.width + 1)
    corners = torch.empty(batch, 4, classes, cells, dtype=torch.float32, device=logits.device)
    margins = losses
    if not loss_terms.plain:
        margins = upsampled_losses(
            logits, target, weight, ignore_index, loss_terms, low, high, only_margins=True
        )
    tiles = triton.cdiv(cells, tile.pixels)
    blocks = triton.cdiv(classes, tile.classes)
    low_tiles = triton.cdiv(low.height * low.width, tile.pixels)
    with on_device_of(logits):
        cells_kernel[(tiles * batch, blocks)](
            grad_value, packed, logits, target, weight, loss_terms.weight_sum, losses, margins,
            corners, ignore_index, loss_terms.keep, loss_terms.spread, shape.exponent,
            packed.shape[1], batch // packed.shape[1],
            *low.strides[0], low.height, low.width, high.height, high.width,
            triton.cdiv(high.height, low.height), triton.cdiv(high.width, low.width), tiles,
            C=classes, NORM=shape.kind,
            HARD=loss_terms.hard, SMOOTH=loss_terms.smooth, WEIGHTED=loss_terms.weighted,
            BLOCK_C=tile.classes, BLOCK_M=tile.pixels, num_warps=tile.warps,
        )  # fmt: skip
        gather_kernel[(low_tiles * batch, blocks)](
            corners, gradient, *out.strides[0], low.height, low.width, low_tiles,
            C=classes, BLOCK_C=tile.classes, BLOCK_N=tile.pixels, num_warps=tile.warps,
        )  # fmt: skip
    return gradient
