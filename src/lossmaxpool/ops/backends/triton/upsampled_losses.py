"""Low-resolution logits to one loss per pixel: upsampled in registers, never in memory."""

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
    margin,
    pixel_loss,
    spread_sum,
    total_weight,
)
from lossmaxpool.ops.backends.triton.dense_losses import IGNORED
from lossmaxpool.ops.backends.triton.devices import on_device_of
from lossmaxpool.ops.backends.triton.interpolation import (
    axis_cell,
    axis_fraction,
    load_corner,
    lower,
    mix,
    upper,
)
from lossmaxpool.ops.backends.triton.smoothing import Terms
from lossmaxpool.ops.backends.triton.tiles import UPSAMPLED


@triton.jit
def mixed(top_left, top_right, bottom_left, bottom_right, places, mask, y, x):
    """Logits at the four corners, of any shape, and interpolated between them, in float32."""
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
    """Program: one tile of one image's pixels. With MARGIN, writes lse - own logit."""
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
    top, bottom = base + lower(row) * stride_h, base + upper(row, low_h) * stride_h
    left, right = lower(column) * stride_w, upper(column, low_w) * stride_w
    stride = tl.full([], stride_c, tl.int64)
    own = mixed(
        top + left, top + right, bottom + left, bottom + right, label * stride, inside, y, x
    )
    top_left, top_right = (top + left)[None, :], (top + right)[None, :]
    bottom_left, bottom_right = (bottom + left)[None, :], (bottom + right)[None, :]

    peak = tl.full([BLOCK_N], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_N], tl.float32)
    smoothed = tl.zeros([BLOCK_N], tl.float32)
    for first in range(0, C, BLOCK_C):
        classes = first + tl.arange(0, BLOCK_C)
        known = classes < C
        scores = mixed(
            top_left, top_right, bottom_left, bottom_right, (classes * stride)[:, None],
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
        tl.store(losses + image * size + n, tl.where(exists, loss, IGNORED), mask=inside)


def upsampled_losses(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    loss_terms: Terms,
    low: Planes,
    high: Planes,
    *,
    only_margins: bool = False,
) -> Tensor:
    """(B, C, *low) logits, contiguous (B, *spatial) target -> (B, *spatial) float32."""
    losses = torch.empty(target.shape, dtype=torch.float32, device=logits.device)
    if losses.numel() == 0:
        return losses
    tile, classes = UPSAMPLED, logits.shape[1]
    tiles = triton.cdiv(high.height * high.width, tile.pixels)
    with on_device_of(logits):
        upsampled_losses_kernel[(tiles * logits.shape[0],)](
            logits, target, weight, loss_terms.weight_sum, losses,
            ignore_index, loss_terms.keep, loss_terms.spread,
            *low.strides[0], low.height, low.width, high.height, high.width, tiles,
            C=classes, HARD=loss_terms.hard,
            SMOOTH=loss_terms.smooth and not only_margins, WEIGHTED=loss_terms.weighted,
            MARGIN=only_margins, BLOCK_C=tile.classes, BLOCK_N=tile.pixels, num_warps=tile.warps,
        )  # fmt: skip
    return losses
