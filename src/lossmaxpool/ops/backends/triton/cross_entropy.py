"""One pixel's cross-entropy and its derivative: what dense and upsampled kernels share."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_label(target, place, inside, ignore_index, C: tl.constexpr):
    """The pixel's label, safe to index with, whether the pixel exists, and whether C knows it.

    Compared in 64 bits: in uint8, -100 would be 156.
    """
    label = tl.load(target + place, mask=inside, other=0).to(tl.int64)
    known = (label >= 0) & (label < C)
    return tl.where(known, label, 0), inside & (label != ignore_index), known


@triton.jit
def absorb(x, peak, total):
    """A block of logits (classes, pixels) enters the running maximum and sum of exponentials."""
    top = tl.maximum(peak, tl.max(x, 0))
    # From logits that are all -inf so far nothing may be subtracted: -inf - -inf is NaN.
    shift = tl.where(top == float("-inf"), 0.0, top)
    total = total * tl.exp(peak - shift) + tl.sum(tl.exp(x - shift[None, :]), 0)
    return top, total


@triton.jit
def margin(peak, total, origin):
    """``lse - origin``, without lse: a common offset of the logits would cost its last places."""
    return tl.log(total) + (peak - origin)


@triton.jit
def class_weights(weight, classes, known, WEIGHTED: tl.constexpr):
    """(classes,) weights, 1 where there are none, 0 beyond C."""
    if WEIGHTED:
        return tl.load(weight + classes, mask=known, other=0.0)
    return tl.where(known, 1.0, 0.0)


@triton.jit
def reference(own):
    """What smoothing measures the logits from: a common offset then costs no precision."""
    return tl.where(own == float("-inf"), 0.0, own)


@triton.jit
def spread_sum(x, known, weights, own):
    """``sum_c w_c (x_c - reference)`` over a block of logits (classes, pixels)."""
    distance = x - reference(own)[None, :]
    return tl.sum(tl.where(known[:, None], weights[:, None] * distance, 0.0), 0)


@triton.jit
def total_weight(weight_sum, C: tl.constexpr, WEIGHTED: tl.constexpr):
    """``sum_c w_c``."""
    if WEIGHTED:
        return tl.load(weight_sum)
    return C * 1.0


@triton.jit
def pixel_loss(
    peak, total, own, own_weight, smoothed, all_weights, keep, spread,
    HARD: tl.constexpr, SMOOTH: tl.constexpr,
):  # fmt: skip
    """The loss from its sums, never -0.0: the solver orders losses by their bits."""
    loss = tl.zeros_like(own)
    if HARD:
        loss = keep * own_weight * margin(peak, total, own)
    if SMOOTH:
        loss += spread * (all_weights * margin(peak, total, reference(own)) - smoothed)
    return tl.where(loss <= 0, 0.0, loss)  # NaN stays
