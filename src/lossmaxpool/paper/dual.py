"""The dual problem: g, its minimizer, and the function eta whose largest root is alpha*.

References:
    Rota Bulò et al. 2017, Eq. 6 to 9.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from lossmaxpool.paper.powers import Array, log_ratio, norm
from lossmaxpool.paper.weighting_set import (
    check_losses,
    check_support,
    conjugate,
    norm_bound,
    weight_cap,
)


def g(dual: ArrayLike, losses: ArrayLike, p: float, m: float) -> float:
    """Dual objective ``g(lam) = tau sum(lam) + gamma ||l - lam||_q``, at least L_W for lam >= 0.

    Args:
        dual: (N,) multipliers lam >= 0 of the constraint w <= tau.
        losses: (N,) pixel losses.
        p: exponent in [1, inf].
        m: support in [1, N].

    Returns:
        g(lam).

    Raises:
        ValueError: for losses, p or m out of range, or multipliers that are negative or of another
            shape.

    References:
        Rota Bulò et al. 2017, Eq. 6 and 7.
    """
    losses = check_losses(losses)
    multipliers = _check_dual(dual, losses)
    n, q = losses.size, conjugate(p)
    slope = weight_cap(n, p, m) * float(multipliers.sum())
    return slope + norm_bound(n, p) * norm(losses - multipliers, q)


def kkt(dual: ArrayLike, losses: ArrayLike, p: float, m: float) -> Array:
    """Right-hand side of Eq. 8, ``(l - m^(-1/q) ||l - lam||_q)_+``; lambda* is a fixed point.

    Args:
        dual: (N,) multipliers lam >= 0.
        losses: (N,) pixel losses.
        p: exponent in [1, inf].
        m: support in [1, N].

    Returns:
        (N,).

    Raises:
        ValueError: as for ``g``.

    References:
        Rota Bulò et al. 2017, Eq. 8.
    """
    losses = check_losses(losses)
    multipliers = _check_dual(dual, losses)
    m, q = check_support(m, losses.size), conjugate(p)
    return lambda_star(losses, m ** (-1 / q) * norm(losses - multipliers, q))


def lambda_star(losses: ArrayLike, alpha: float) -> Array:
    """Minimizer of g given alpha*, ``lam* = (l - alpha*)_+``.

    Args:
        losses: (N,) pixel losses.
        alpha: alpha* >= 0.

    Returns:
        (N,) lam*.

    Raises:
        ValueError: for losses or alpha out of range.

    References:
        Rota Bulò et al. 2017, Theorem 1 and Proposition 1.
    """
    return np.maximum(check_losses(losses) - _check_threshold(alpha), 0.0)


def eta(alpha: float, losses: ArrayLike, p: float, m: float) -> float:
    """``eta(a) = (m - #{l > a}) a^q - sum_{l <= a} l^q``, as printed; alpha* is its largest root.

    Uses plain powers, which underflow or overflow for p near 1; use ``eta_over_power`` to get the
    correct sign then.

    Args:
        alpha: a >= 0.
        losses: (N,) pixel losses.
        p: exponent in (1, inf].
        m: support in [1, N].

    Returns:
        eta(a).

    Raises:
        ValueError: for p = 1, where q is infinite, and for alpha, losses, p or m out of range.

    References:
        Rota Bulò et al. 2017, Eq. 9.
    """
    losses, q, m = _check_eta(alpha, losses, p, m)
    above = losses > alpha
    return float((m - above.sum()) * alpha**q - (losses[~above] ** q).sum())


def eta_over_power(alpha: float, losses: ArrayLike, p: float, m: float) -> float:
    """``eta(a) / a^q = m - sum min(1, (l/a)^q)`` for a > 0: the sign and the roots of eta, safely.

    It is nondecreasing in a, from ``m - #{l > 0}`` at a = 0+ to m at infinity, so eta changes its
    sign once.

    Args:
        alpha: a > 0.
        losses: (N,) pixel losses.
        p: exponent in (1, inf].
        m: support in [1, N].

    Returns:
        eta(a) / a^q.

    Raises:
        ValueError: as for ``eta``, and for alpha = 0.

    References:
        Rota Bulò et al. 2017, Eq. 9.
    """
    losses, q, m = _check_eta(alpha, losses, p, m)
    if alpha == 0:
        raise ValueError("alpha = 0; expected alpha > 0: eta(0) = 0 always, use eta")
    return m - float(np.exp(q * log_ratio(np.minimum(losses, alpha), alpha)).sum())


def _check_dual(dual: ArrayLike, losses: Array) -> Array:
    multipliers = np.asarray(dual, dtype=np.float64)
    sound = np.isfinite(multipliers) & (multipliers >= 0)
    if multipliers.shape != losses.shape or not sound.all():
        raise ValueError(
            f"multipliers have shape {multipliers.shape}, {int((~sound).sum())} of them negative "
            f"or not finite; expected shape {losses.shape} and finite values >= 0: pass one "
            "multiplier per loss"
        )
    return multipliers


def _check_eta(alpha: float, losses: ArrayLike, p: float, m: float) -> tuple[Array, float, float]:
    checked, q = check_losses(losses), conjugate(p)
    if math.isinf(q):
        raise ValueError("p = 1; expected p > 1: eta has a^q, and q is infinite at p = 1")
    _check_threshold(alpha)
    return checked, q, check_support(m, checked.size)


def _check_threshold(alpha: float) -> float:
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha = {alpha}; expected 0 <= alpha < inf: it is a loss threshold")
    return alpha
