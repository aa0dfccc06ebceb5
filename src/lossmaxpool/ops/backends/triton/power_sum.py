"""Sums of q-th powers, relative to the largest of them: neither overflow nor underflow."""

from __future__ import annotations

import triton
import triton.language as tl

from lossmaxpool.ops.backends.triton.pool_weight import log_ratio


@triton.jit
def relative_power(x, anchor, q):
    """``(x / anchor)^q`` for ``0 <= x <= anchor``; 0 for 0."""
    safe = tl.where(anchor > 0, anchor, 1.0)
    return tl.where(x > 0, tl.exp(q * log_ratio(x, safe)), 0.0)


@triton.jit
def add_powers(below, anchor, powers, q):
    """A block of losses enters a running ``sum of (l / anchor)^q``, lane by lane in float64.

    The anchor is the largest loss so far. Any larger one (the threshold, the largest of all)
    would let every power underflow for p near 1.
    """
    top = tl.max(below, 0)
    if top > anchor:
        powers = powers * relative_power(anchor, top, q).to(tl.float64)
        anchor = top
    powers += relative_power(below, anchor, q).to(tl.float64)
    return anchor, powers


@triton.jit
def combine_powers(anchors, powers, q):
    """Partial sums, each relative to its own anchor, relative to the largest anchor."""
    anchor = tl.max(anchors, 0)
    shares = relative_power(anchors.to(tl.float32), anchor.to(tl.float32), q).to(tl.float64)
    return anchor, tl.sum(powers * shares, 0)
