"""Logits of the target's size to one loss per pixel: one pass, each logit read once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.planes import Planes
from lossmaxpool.ops.backends.triton.cross_entropy import (
    absorb,
    class_weights,
    load_label,
    pixel_loss,
    spread_sum,
    total_weight,
)
from lossmaxpool.ops.backends.triton.devices import on_device_of
from lossmaxpool.ops.backends.triton.smoothing import Terms
from lossmaxpool.ops.backends.triton.tiles import dense_tile, unit_of

IGNORED = tl.constexpr(-1.0)  # no pixel loss is negative: the mark needs no mask beside it


@triton.jit
def pixel_places(
    tile, stride_h, stride_w, width, height,
    UNIT: tl.constexpr, FLAT: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The tile's pixels: their numbers in the image, places in a plane, and which are inside."""
    n = tile.to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    if FLAT:
        return n, n * stride_w, n < width * UNIT
    return n, (n // width) * stride_h + (n % width) * stride_w, n < height * width


@triton.jit
def load_block(pixels, first, stride_c, inside, C: tl.constexpr, BLOCK_C: tl.constexpr):
    """Logits (classes, pixels) in float32 from class ``first`` on, -inf beyond C."""
    classes = first + tl.arange(0, BLOCK_C)
    known = classes < C
    places = pixels[None, :] + (classes.to(tl.int64) * stride_c)[:, None]
    x = tl.load(places, mask=known[:, None] & inside[None, :], other=float("-inf"))
    return x.to(tl.float32), classes, known


@triton.jit
def class_sums(
    pixels, weight, own, stride_c, inside,
    C: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    BLOCK_C: tl.constexpr, FULL: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Maximum and sum of exponentials of each pixel's logits, and what smoothing adds up."""
    peak = tl.full([BLOCK_N], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_N], tl.float32)
    smoothed = tl.zeros([BLOCK_N], tl.float32)
    for first in range(0, FULL, BLOCK_C):
        x, classes, known = load_block(pixels, first, stride_c, inside, FULL, BLOCK_C)
        peak, total = absorb(x, peak, total)
        if SMOOTH:
            weights = class_weights(weight, classes, known, WEIGHTED)
            smoothed += spread_sum(x, known, weights, own)
    if TAIL > 0:
        rest, classes_left, known_left = load_block(pixels, FULL, stride_c, inside, C, TAIL)
        peak, total = absorb(rest, peak, total)
        if SMOOTH:
            weights_left = class_weights(weight, classes_left, known_left, WEIGHTED)
            smoothed += spread_sum(rest, known_left, weights_left, own)
    return peak, total, smoothed


@triton.jit(do_not_specialize=["ignore_index", "tiles"])
def dense_losses_kernel(
    logits, target, weight, weight_sum, losses,  # (B, C, H, W), (B, N), (C,), (), (B, N)
    ignore_index, keep, spread,
    stride_b, stride_c, stride_h, stride_w, width, height, tiles,
    C: tl.constexpr, UNIT: tl.constexpr, FLAT: tl.constexpr,
    HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    BLOCK_C: tl.constexpr, FULL: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Program: one tile of one image's pixels. Sizes along a flat plane are in UNITs."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    n, place, inside = pixel_places(
        program % tiles, stride_h, stride_w, width, height, UNIT, FLAT, BLOCK_N
    )
    row = image * (width * height) * UNIT
    label, exists, known_label = load_label(target + row, n, inside, ignore_index, C)
    # tl.full: an argument of 1 is specialized to a Python integer, which has no `to`.
    stride = tl.full([], stride_c, tl.int64) * UNIT
    pixels = logits + image * stride_b * UNIT + place
    own = tl.load(pixels + label * stride, mask=inside, other=0.0).to(tl.float32)
    peak, total, smoothed = class_sums(
        pixels, weight, own, stride, inside, C, SMOOTH, WEIGHTED, BLOCK_C, FULL, TAIL, BLOCK_N
    )
    own_weight = 1.0
    if WEIGHTED:
        own_weight = tl.load(weight + label)
    all_weights = 0.0
    if SMOOTH:
        all_weights = total_weight(weight_sum, C, WEIGHTED)
    loss = pixel_loss(
        peak, total, own, own_weight, smoothed, all_weights, keep, spread, HARD, SMOOTH
    )
    loss = tl.where(known_label, loss, float("nan"))
    tl.store(losses + row + n, tl.where(exists, loss, IGNORED), mask=inside)


def dense_losses(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    loss_terms: Terms,
    view: Planes,
) -> Tensor:
    """(B, C, *spatial) logits, contiguous (B, *spatial) target -> (B, *spatial) float32 losses."""
    losses = torch.empty(target.shape, dtype=torch.float32, device=logits.device)
    if losses.numel() == 0:
        return losses
    classes, (strides,) = logits.shape[1], view.strides
    unit = unit_of(view)
    tile = dense_tile(classes, logits.dtype, unit)
    tiles = triton.cdiv(view.height * view.width, tile.pixels)
    with on_device_of(logits):
        dense_losses_kernel[(tiles * logits.shape[0],)](
            logits, target, weight, loss_terms.weight_sum, losses,
            ignore_index, loss_terms.keep, loss_terms.spread,
            strides.image // unit, strides.channel // unit, strides.row, strides.column,
            view.width // unit, view.height, tiles,
            C=classes, UNIT=unit, FLAT=view.flat,
            HARD=loss_terms.hard, SMOOTH=loss_terms.smooth, WEIGHTED=loss_terms.weighted,
            BLOCK_C=tile.classes, FULL=tile.full, TAIL=tile.tail, BLOCK_N=tile.pixels,
            num_warps=tile.warps,
        )  # fmt: skip
    return losses
