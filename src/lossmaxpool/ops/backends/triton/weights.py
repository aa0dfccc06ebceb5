"""w*, elementwise, from a loss and the packed threshold of its pool.

Theorems 1 and 2: ``tau`` above alpha*, ``tau (l / alpha*)^(q - 1)`` up to it; for p = 1 the ties
at alpha* share the remaining weight. Rota Bulò et al. 2017.
"""

from __future__ import annotations

from ctypes import c_float
from typing import NamedTuple

import triton
import triton.language as tl

from lossmaxpool.ops.weighting_set import WeightingSet

UNIFORM, POWER, TIES = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


class Norm(NamedTuple):
    """The form of the weights below the threshold, given by the norm exponent p."""

    kind: int  # UNIFORM for p = inf, TIES for p = 1, else POWER
    exponent: float  # q - 1; 0 where it is not used


def norm(weighting: WeightingSet) -> Norm:
    if weighting.is_mean:
        return Norm(UNIFORM.value, 0.0)
    if weighting.is_top_k:
        return Norm(TIES.value, 0.0)
    return Norm(POWER.value, weighting.exponent)


def split(x: float) -> tuple[float, float]:
    """Two float32 numbers that add up to ``x`` in float64, to 48 bits.

    Kernels receive Python floats as float32; :func:`joined` adds the two parts in the kernel.
    """
    high = c_float(x).value
    return high, x - high


@triton.jit
def joined(high, low):
    """The float64 number from its two parts."""
    return tl.full([], high, tl.float64) + low


@triton.jit
def floor_to_float32(x):
    """The largest float32 that is at most ``x``, a non-negative float64.

    For float32 losses, ``l > x`` and ``l > floor(x)`` are then equivalent.
    """
    nearest = x.to(tl.float32)
    bits = nearest.to(tl.int32, bitcast=True)
    below = tl.where(nearest.to(tl.float64) > x, bits - 1, bits)
    return below.to(tl.float32, bitcast=True)


@triton.jit
def log_ratio(x, anchor):
    """``log(x / anchor)`` for ``0 <= x <= anchor``, accurate enough to be multiplied by 10^4.

    Near 1 the difference ``x - anchor`` is exact (Sterbenz's lemma), and its
    ``2 atanh(d / (2 + d))`` has full relative precision, independent of the device's logarithm.
    """
    d = (x - anchor) / anchor
    s = d / (2 + d)
    square = s * s
    # Up to s = 1/3: the next term, s^17 / 17, is below half a unit in the last place.
    series = 1.0 / 15
    series = series * square + 1.0 / 13
    series = series * square + 1.0 / 11
    series = series * square + 1.0 / 9
    series = series * square + 1.0 / 7
    series = series * square + 1.0 / 5
    series = series * square + 1.0 / 3
    near = 2 * (s + s * square * series)
    return tl.where(d > -0.5, near, tl.log(x / anchor))


@triton.jit
def load_pool(packed, pool, pools, EXPONENT, NORM: tl.constexpr):
    """Threshold (rounded down), cap, and the factor of the weights below the cap.

    Packed is (6, R) float64: value, alpha, cap, tie, num_valid, support.
    """
    value = tl.load(packed + pool)
    alpha = tl.load(packed + pools + pool)
    sound = value == value
    cap = tl.where(sound, tl.load(packed + 2 * pools + pool).to(tl.float32), float("nan"))
    threshold = floor_to_float32(alpha)
    if NORM == TIES:
        tie = tl.load(packed + 3 * pools + pool).to(tl.float32)
        return threshold, cap, tl.where(sound, tie, float("nan"))
    # Correct for rounding alpha: the ratio, raised to the same power. It differs from 1 by at most
    # one unit in the last place, so two terms of the logarithm suffice.
    safe = tl.where(alpha > 0, alpha, 1.0)
    lost = (tl.where(alpha > 0, threshold.to(tl.float64), 1.0) - safe) / safe
    scale = tl.exp((EXPONENT * (lost - 0.5 * lost * lost)).to(tl.float32))
    return threshold, cap, tl.where(threshold > 0, cap * scale, 0 * cap)


@triton.jit
def pool_weight(loss, threshold, cap, scale, EXPONENT, NORM: tl.constexpr):
    """w* of valid losses: the cap above the threshold, a power up to it."""
    if NORM == UNIFORM:
        return tl.zeros_like(loss) + cap
    if NORM == TIES:
        return tl.where(loss > threshold, cap, tl.where(loss == threshold, scale, 0 * scale))
    anchor = tl.where(threshold > 0, threshold, 1.0)
    below = tl.minimum(loss, anchor)
    return tl.where(loss > threshold, cap, scale * tl.exp(EXPONENT * log_ratio(below, anchor)))
