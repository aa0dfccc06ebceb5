"""Algorithm 1: J* and alpha* by sorting; in the log domain, and as printed.

References:
    Rota Bulò et al. 2017, Algorithm 1 and Sect. 4.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossmaxpool.paper.powers import Array, log_ratio
from lossmaxpool.paper.weighting_set import check_exponent, check_losses, check_support, conjugate

Mask = NDArray[np.bool_]


def solve(losses: ArrayLike, p: float, m: float) -> tuple[Mask, float]:
    """The capped pixels J* and the threshold alpha* of ``L_W = max {w·l : w in W}``.

    alpha* is the largest root of ``eta(a) = (m - #{l > a}) a^q - sum_{l <= a} l^q``. The loop is
    the paper's, but tracks ``a_i / l_i^q`` instead of a_i: it stays in [1, n] for every q, while
    the powers themselves would underflow.

    Args:
        losses: (N,) pixel losses, finite and non-negative.
        p: exponent of the norm constraint, in [1, inf].
        m: minimum number of supported pixels, a real number in [1, N].

    Returns:
        (N,) bool, J* in the order of ``losses``, and alpha*. For p = 1, J* has exactly floor(m)
        pixels, ties broken by position.

    Raises:
        ValueError: for losses, p or m outside these ranges.

    Example:
        >>> in_J, alpha = solve([0.1, 3.0, 0.2, 0.4], p=2, m=2)
        >>> in_J.tolist(), round(alpha, 6)
        ([False, True, False, False], 0.458258)

    References:
        Rota Bulò et al. 2017, Algorithm 1; the guard of line 15 corrected, see docs/errata.md.
    """
    losses = check_losses(losses)
    p, m = check_exponent(p), check_support(m, losses.size)
    n = losses.size
    order = np.argsort(losses, kind="stable")  # line 2: pi, ascending
    ascending = losses[order]
    if p > 1:  # line 3
        q = conjugate(p)  # line 4
        i = _first_capped(ascending, q, m)  # lines 5 to 11
        alpha = _threshold(ascending[: i - 1], q, m - (n - i + 1))  # line 12
    else:  # line 13
        i = n - math.floor(m) + 1  # line 14
        alpha = float(ascending[i - 2]) if i > 1 else 0.0  # line 15; printed "i > 0"
    in_J = np.zeros(n, dtype=np.bool_)
    in_J[order[i - 1 :]] = True  # line 16
    return in_J, alpha


def _first_capped(ascending: Array, q: float, m: float) -> int:
    """The i of line 11: the 1-based rank of the first pixel in J*, n + 1 where J* is empty."""
    n = ascending.size
    # A loss of 0 has eta_i = 0 and cannot end the loop, so start after the zeros.
    zeros = int(np.searchsorted(ascending, 0.0, side="right"))
    positive = ascending[zeros:]
    shrink = np.exp(q * log_ratio(positive[:-1], positive[1:])).tolist()
    a = 0.0  # line 5; a_i in units of l_i^q
    for i, factor in enumerate([0.0, *shrink][: positive.size], start=zeros + 1):  # lines 6, 7
        a = a * factor + 1.0  # line 8
        eta = m - (n - i) - a  # line 9, c_i = m - n + i; in units of l_i^q
        if eta > 0:  # line 10
            return i
    return n + 1  # line 11


def _threshold(uncapped: Array, q: float, c: float) -> float:
    """Line 12, ``(sum l^q / c)^(1/q)`` over the pixels outside J*, anchored at their largest."""
    largest = float(uncapped[-1]) if uncapped.size else 0.0
    if largest == 0:
        return 0.0
    total = float(np.exp(q * log_ratio(uncapped, largest)).sum())
    return largest * math.exp(math.log(total / c) / q)


def solve_as_printed(losses: ArrayLike, p: float, m: float) -> tuple[Mask, float]:
    """Algorithm 1 exactly as printed: plain powers of the losses divided by the largest.

    Kept to show where this arithmetic fails: for p near 1 the powers of all but the largest losses
    underflow, alpha* is 0 or far too small, and the norm constraint is slack. For p = 1 and m = n,
    the printed guard reads a loss before the first one, which gives NaN here.

    Args:
        losses: (N,) pixel losses, finite and non-negative.
        p: exponent of the norm constraint, in [1, inf].
        m: minimum number of supported pixels, a real number in [1, N].

    Returns:
        (N,) bool and a number: J* and alpha*, if nothing underflowed.

    Raises:
        ValueError: for losses, p or m outside these ranges.

    References:
        Rota Bulò et al. 2017, Algorithm 1 and the implementation notes below it.
    """
    losses = check_losses(losses)
    p, m = check_exponent(p), check_support(m, losses.size)
    n = losses.size
    order = np.argsort(losses, kind="stable")  # line 2
    scale = float(losses.max()) or 1.0
    loss = [math.nan, *(losses[order] / scale).tolist()]  # l(pi_i), i from 1
    if p > 1:  # line 3
        q = conjugate(p)  # line 4
        c, i, a = [m - n], 0, [0.0]  # line 5
        while True:  # line 6
            i += 1  # line 7
            c.append(c[i - 1] + 1)
            a.append(a[i - 1] + loss[i] ** q)  # line 8
            eta = c[i] * loss[i] ** q - a[i]  # line 9
            if eta > 0 or i == n:  # line 10
                break
        if eta <= 0:  # line 11
            i += 1
        alpha = (a[i - 1] / c[i - 1]) ** (1 / q)  # line 12
    else:  # line 13
        i = n - math.floor(m) + 1  # line 14
        alpha = loss[i - 1] if i > 0 else 0.0  # line 15
    in_J = np.zeros(n, dtype=np.bool_)
    in_J[order[i - 1 :]] = True  # line 16
    return in_J, alpha * scale
