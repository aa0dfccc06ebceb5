"""The cross-entropy of one pixel and its derivative, for dense and for upsampled logits.

With class weights v, label smoothing s and the C logits x of a pixel of class y:

    l = (1 - s) v[y] (lse - x[y]) + s / C * sum_c v[c] (lse - x[c]),   lse = logsumexp(x)
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

IGNORED = tl.constexpr(-1.0)  # marks an ignored pixel: pixel losses are never negative


class Numbers(NamedTuple):
    """The terms of the loss that are present, and their factors.

    An absent term is skipped instead of multiplied by 0, because its logits may be -inf.
    """

    hard: bool
    smooth: bool
    weighted: bool
    keep: float  # 1 - s
    spread: float  # s / C

    @property
    def flags(self) -> dict[str, bool]:
        """The terms as constants of a kernel."""
        return {"HARD": self.hard, "SMOOTH": self.smooth, "WEIGHTED": self.weighted}

    @property
    def plain(self) -> bool:
        """Whether the loss is ``lse - x[y]``, so that lse need not be recomputed."""
        return not (self.smooth or self.weighted)


class Terms(NamedTuple):
    """The terms of the loss and their tensors."""

    numbers: Numbers
    weight: Tensor | None  # (C,) float32 class weights
    weight_sum: Tensor | None  # () sum of the class weights, if a term needs it


def terms(label_smoothing: float, classes: int, weight: Tensor | None) -> Terms:
    """The terms for smoothing s, C classes and (C,) class weights of any float dtype."""
    smooth = label_smoothing != 0
    weight = None if weight is None else weight.float().contiguous()
    numbers = Numbers(
        hard=label_smoothing != 1,
        smooth=smooth,
        weighted=weight is not None,
        keep=1 - label_smoothing,
        spread=label_smoothing / classes,
    )
    return Terms(numbers, weight, weight.sum() if smooth and weight is not None else None)


@triton.jit
def as_label(read, inside, ignore_index, C: tl.constexpr):
    """The label, clamped to a safe index; whether the pixel is valid; whether its label is a class.

    Compared as int64: in uint8, -100 would be 156.
    """
    label = read.to(tl.int64)
    known = (label >= 0) & (label < C)
    return tl.where(known, label, 0), inside & (label != ignore_index), known


@triton.jit
def absorb(x, peak, total):
    """Update running maximum and sum of exponentials with logits (classes, *pixels)."""
    top = tl.maximum(peak, tl.max(x, 0))
    # If all logits so far are -inf, subtract 0: -inf - -inf is NaN.
    shift = tl.where(top == float("-inf"), 0.0, top)
    powers = tl.exp(x - tl.expand_dims(shift, 0))
    return top, total * tl.exp(peak - shift) + tl.sum(powers, 0)


@triton.jit
def margin(peak, total, origin):
    """``lse - origin``, computed without lse, in which a common offset would cost precision."""
    return tl.log(total) + (peak - origin)


@triton.jit
def class_weights(weight, classes, known, WEIGHTED: tl.constexpr):
    """(classes,) class weights, 1 if none are given, 0 beyond C."""
    if WEIGHTED:
        return tl.load(weight + classes, mask=known, other=0.0)
    return tl.where(known, 1.0, 0.0)


@triton.jit
def reference(own):
    """Reference logit of the smoothing term, so that a common offset costs no precision."""
    return tl.where(own == float("-inf"), 0.0, own)


@triton.jit
def spread_sum(x, known, weights, own):
    """``sum_c v_c (x_c - reference)`` over a block of logits; all can be broadcast to ``x``."""
    return tl.sum(tl.where(known, weights * (x - reference(own)), 0.0), 0)


@triton.jit
def slopes(
    weight, weight_sum, label, keep, spread, C: tl.constexpr,
    HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    """``(1 - s) v[y]``, and the factor of the softmax in the derivative, for every pixel.

    Without smoothing, the two are equal and multiply the whole derivative: they are returned third,
    and :func:`class_derivative` takes them as 1.
    """
    own = tl.zeros_like(label).to(tl.float32)
    if HARD:
        own += keep
    if WEIGHTED:
        own *= tl.load(weight + label)
    factor, common = own, own
    if SMOOTH:
        common = tl.full(own.shape, 1.0, tl.float32)
        if WEIGHTED:
            factor += spread * tl.load(weight_sum)
        else:
            factor += spread * C
    return own, factor, common


@triton.jit
def pixel_loss(
    peak, total, own, smoothed, weight, weight_sum, label, keep, spread, C: tl.constexpr,
    HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    """The loss from its sums; never -0.0, because the solver orders losses by their bits."""
    loss = tl.zeros_like(own)
    if HARD:
        loss = keep * margin(peak, total, own)
        if WEIGHTED:
            loss *= tl.load(weight + label)
    if SMOOTH:
        all_weights = C * 1.0
        if WEIGHTED:
            all_weights = tl.load(weight_sum)
        loss += spread * (all_weights * margin(peak, total, reference(own)) - smoothed)
    return tl.where(loss <= 0, 0.0, loss)  # keeps NaN


@triton.jit
def class_derivative(softmax, hit, weights, keep_own, factor, spread, SMOOTH: tl.constexpr):
    """The derivative of the loss with respect to the logits of a block of classes.

    ``softmax (keep_own + spread sum_c v_c) - keep_own [c == y] - spread v_c``; ``factor`` is the
    bracket, ``hit`` is ``c == y``. All arguments can be broadcast to ``softmax``, which is
    ``exp((x - x[y]) - margin)``.
    """
    if SMOOTH:
        return softmax * factor - tl.where(hit, keep_own, 0.0) - spread * weights
    return softmax - tl.where(hit, 1.0, 0.0)
