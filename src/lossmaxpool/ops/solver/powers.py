"""``(x / anchor) ** exponent``, exact enough for exponents of 10^4 in float32."""

from __future__ import annotations

import torch
from torch import Tensor

# Where the rounding of x / anchor, magnified by the exponent, would pass the weights' tolerance.
_PLAIN_POWER_LIMIT = 8.0


def relative_power(x: Tensor, anchor: Tensor, exponent: float) -> Tensor:
    """``(x / anchor) ** exponent`` for ``0 <= x <= anchor``.

    A plain power of the rounded ratio is off by ``exponent`` units in the last place: 6e-4 in
    float32 at an exponent of 10^4. The difference ``x - anchor`` is exact where the power is not
    negligible (Sterbenz's lemma), so its log1p keeps full precision there.

    Args:
        x: (B, N) numbers between 0 and their row's anchor; zeros give exactly 0.
        anchor: (B, 1) positive numbers of the same dtype.
        exponent: a number >= 0.

    Returns:
        (B, N) in the dtype of ``x``, between 0 and 1.
    """
    if exponent <= _PLAIN_POWER_LIMIT:
        return (x / anchor).pow_(exponent)
    return (x - anchor).div_(anchor).log1p_().mul_(exponent).exp_()


def floor_to(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest number of ``dtype`` that is at most ``x``.

    For losses of that dtype, ``l > x`` and ``l > floor_to(x)`` are the same set: a threshold held
    in float64 splits float32 losses without a float64 copy of them.
    """
    rounded = x.to(dtype)
    below = torch.nextafter(rounded, torch.full_like(rounded, -torch.inf))
    return torch.where(rounded.to(x.dtype) > x, below, rounded)
