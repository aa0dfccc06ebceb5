"""Powers and norms that neither underflow nor lose digits, however large the exponent.

The conjugate exponent q grows without bound as p approaches 1 (q = 10001 at p = 1.0001), so a
plain ``losses ** q`` is 0 or infinite for almost every loss. Only powers of *ratios* to an anchor
are needed, and the logarithm of such a ratio has full relative accuracy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def log_ratio(values: Array, anchor: Array | float) -> Array:
    """Logarithm of ``values / anchor``, accurate to a few units in the last place.

    Args:
        values: (...), with ``0 <= values <= anchor``.
        anchor: a number or an array that broadcasts against ``values``, positive.

    Returns:
        (...) logarithms, at most 0; ``-inf`` where the value is 0.
    """
    # Near the anchor the quotient is rounded, an error that q = 10^4 amplifies; the difference is
    # exact there (Sterbenz), so its log1p keeps full precision.
    with np.errstate(divide="ignore"):  # log 0 = -inf, whose exponential is 0 as required
        far = np.log(values / anchor)
        near = np.log1p((values - anchor) / anchor)
    return np.where(values > np.asarray(anchor) / 2, near, far)


def norm(values: Array, exponent: float) -> float:
    """Norm ``(sum |v|^exponent)^(1/exponent)``, anchored at the largest magnitude.

    Args:
        values: (N,).
        exponent: in [1, inf].

    Returns:
        The norm; the largest magnitude where ``exponent`` is infinite.
    """
    magnitudes = np.abs(values)
    largest = float(magnitudes.max())
    if largest == 0 or math.isinf(exponent):
        return largest
    total = float(np.exp(exponent * log_ratio(magnitudes, largest)).sum())
    return largest * math.exp(math.log(total) / exponent)
