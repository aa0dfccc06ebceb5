"""Losses and threshold to the gradient of dense logits: each logit read once, written once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.planes import merged_planes
from lossmaxpool.ops.backends.triton.cross_entropy import (
    class_weights,
    load_label,
    margin,
    total_weight,
)
from lossmaxpool.ops.backends.triton.dense_losses import class_sums, load_block, pixel_places
from lossmaxpool.ops.backends.triton.devices import on_device_of
from lossmaxpool.ops.backends.triton.pool_weight import Norm, load_pool, pool_weight
from lossmaxpool.ops.backends.triton.smoothing import Terms
from lossmaxpool.ops.backends.triton.tiles import dense_tile, unit_of


@triton.jit
def class_derivative(
    x, own, gap, label, classes, weights, keep_own, steepness, spread,
    HARD: tl.constexpr, SMOOTH: tl.constexpr,
):  # fmt: skip
    """D loss / d x for a block (classes, pixels).

    ``softmax (keep_own + spread sum_c w_c) - keep_own [c == y] - spread w_c``, the bracket being
    ``steepness``.
    """
    slope = tl.exp((x - own[None, :]) - gap[None, :]) * steepness[None, :]
    if HARD:
        slope -= tl.where(classes[:, None] == label[None, :], keep_own[None, :], 0.0)
    if SMOOTH:
        slope -= spread * weights[:, None]
    return slope


@triton.jit
def store_block(outputs, slope, share, exists, classes, known, stride_c, inside):
    """Write a block (classes, pixels); selected, not multiplied, so that NaN * 0 is 0."""
    slope = tl.where(exists[None, :], share[None, :] * slope, 0.0)
    places = outputs[None, :] + (classes.to(tl.int64) * stride_c)[:, None]
    mask = known[:, None] & inside[None, :]
    tl.store(places, slope.to(outputs.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["ignore_index", "tiles", "pools", "images_per_pool"])
def dense_gradient_kernel(
    grad_value, packed, logits, target, weight, weight_sum, losses, gradient,
    ignore_index, keep, spread, exponent, pools, images_per_pool,
    stride_b, stride_c, stride_h, stride_w, out_b, out_c, out_h, out_w, width, height, tiles,
    C: tl.constexpr, UNIT: tl.constexpr, FLAT: tl.constexpr, NORM: tl.constexpr,
    HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    BLOCK_C: tl.constexpr, FULL: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Program: one tile of one image's pixels. Sizes along a flat plane are in UNITs."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    n, place, inside = pixel_places(
        program % tiles, stride_h, stride_w, width, height, UNIT, FLAT, BLOCK_N
    )
    n, out_place, inside = pixel_places(
        program % tiles, out_h, out_w, width, height, UNIT, FLAT, BLOCK_N
    )
    row = image * (width * height) * UNIT
    label, exists, _ = load_label(target + row, n, inside, ignore_index, C)
    stride = tl.full([], stride_c, tl.int64) * UNIT
    out_stride = tl.full([], out_c, tl.int64) * UNIT
    pixels = logits + image * stride_b * UNIT + place
    outputs = gradient + image * out_b * UNIT + out_place

    pool = image // images_per_pool
    threshold, cap, scale = load_pool(packed, pool, pools, exponent, NORM)
    loss = tl.load(losses + row + n, mask=inside, other=0.0)
    share = tl.load(grad_value + pool) * pool_weight(loss, threshold, cap, scale, exponent, NORM)

    own = tl.load(pixels + label * stride, mask=inside, other=0.0).to(tl.float32)
    if SMOOTH or WEIGHTED:
        peak, total, _ = class_sums(
            pixels, weight, own, stride, inside, C, False, False, BLOCK_C, FULL, TAIL, BLOCK_N
        )
        gap = margin(peak, total, own)
    else:
        gap = loss
    keep_own = tl.zeros([BLOCK_N], tl.float32)
    if HARD:
        keep_own += keep
    if WEIGHTED:
        keep_own *= tl.load(weight + label)
    steepness = keep_own
    if SMOOTH:
        steepness += spread * total_weight(weight_sum, C, WEIGHTED)

    for first in range(0, FULL, BLOCK_C):
        x, classes, known = load_block(pixels, first, stride, inside, FULL, BLOCK_C)
        weights = class_weights(weight, classes, known, WEIGHTED)
        slope = class_derivative(
            x, own, gap, label, classes, weights, keep_own, steepness, spread, HARD, SMOOTH
        )
        store_block(outputs, slope, share, exists, classes, known, out_stride, inside)
    if TAIL > 0:
        rest, classes_left, known_left = load_block(pixels, FULL, stride, inside, C, TAIL)
        weights_left = class_weights(weight, classes_left, known_left, WEIGHTED)
        slope_left = class_derivative(
            rest,
            own,
            gap,
            label,
            classes_left,
            weights_left,
            keep_own,
            steepness,
            spread,
            HARD,
            SMOOTH,
        )
        store_block(
            outputs, slope_left, share, exists, classes_left, known_left, out_stride, inside
        )


def dense_gradient(
    grad_value: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    losses: Tensor,
    packed: Tensor,
    ignore_index: int,
    loss_terms: Terms,
    shape: Norm,
) -> Tensor:
    """D value / d logits in their shape, dtype and memory format; target, losses contiguous."""
    gradient = torch.empty_like(logits)
    if gradient.numel() == 0:
        return gradient
    view = merged_planes(logits, gradient)
    if view is None:
        raise ValueError(f"strides {logits.stride()} do not merge into two spatial dimensions.")
    classes, (source, out) = logits.shape[1], view.strides
    unit = unit_of(view)
    tile = dense_tile(classes, logits.dtype, unit)
    tiles = triton.cdiv(view.height * view.width, tile.pixels)
    with on_device_of(logits):
        dense_gradient_kernel[(tiles * logits.shape[0],)](
            grad_value, packed, logits, target, weight, loss_terms.weight_sum, losses, gradient,
            ignore_index, loss_terms.keep, loss_terms.spread, shape.exponent,
            packed.shape[1], logits.shape[0] // packed.shape[1],
            source.image // unit, source.channel // unit, source.row, source.column,
            out.image // unit, out.channel // unit, out.row, out.column,
            view.width // unit, view.height, tiles,
            C=classes, UNIT=unit, FLAT=view.flat, NORM=shape.kind,
            HARD=loss_terms.hard, SMOOTH=loss_terms.smooth, WEIGHTED=loss_terms.weighted,
            BLOCK_C=tile.classes, FULL=tile.full, TAIL=tile.tail, BLOCK_N=tile.pixels,
            num_warps=tile.warps,
        )  # fmt: skip
    return gradient
