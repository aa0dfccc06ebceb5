"""float64 arguments of kernels, which take Python floats in float32 only."""

from __future__ import annotations

from ctypes import c_float

import triton
import triton.language as tl


def split(x: float) -> tuple[float, float]:
    """Two float32 numbers that add up to ``x``, in float64, to 48 bits."""
    high = c_float(x).value
    return high, x - high


@triton.jit
def joined(high, low):
    """The float64 number that was split."""
    return tl.full([], high, tl.float64) + low
