"""The closed forms of L_W, w* and lambda*: Theorem 1 (p > 1) and Theorem 2 (p = 1).

References:
    Rota Bulò et al. 2017, Eq. 4, Theorem 1 (Eq. 10) and Theorem 2 (Eq. 11).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossmaxpool.paper import algorithm1
from lossmaxpool.paper.dual import lambda_star
from lossmaxpool.paper.powers import Array, log_ratio
from lossmaxpool.paper.weighting_set import check_exponent, check_losses, conjugate, weight_cap

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PrimalDualSolution:
    """The solution of the theorems for one image of N pixels.

    Attributes:
        value: L_W.
        weights: (N,) w*, a maximizer of the primal.
        threshold: alpha*.
        capped: (N,) bool, J* = {l > alpha*}, the pixels whose weight is tau.
        dual: (N,) lambda*, a minimizer of the dual.
    """

    value: float
    weights: Array
    threshold: float
    capped: Mask
    dual: Array


def solve(losses: ArrayLike, p: float, m: float) -> PrimalDualSolution:
    """Loss max-pooling ``L_W = max {w·l : w in W}`` in closed form, for any p.

    Args:
        losses: (N,) pixel losses, finite and non-negative.
        p: exponent of the norm constraint, in [1, inf].
        m: minimum number of supported pixels, a real number in [1, N].

    Returns:
        The value, w*, alpha*, J* and lambda*.

    Raises:
        ValueError: for losses, p or m outside these ranges.

    Example:
        >>> solution = solve([0.0, 1.0, 2.0, 3.0], p=1, m=2)
        >>> solution.value, solution.weights.tolist()
        (2.5, [0.0, 0.0, 0.5, 0.5])

    References:
        Rota Bulò et al. 2017, Eq. 4, Theorems 1 and 2.
    """
    return theorem_2(losses, m) if check_exponent(p) == 1 else theorem_1(losses, p, m)


def theorem_1(losses: ArrayLike, p: float, m: float) -> PrimalDualSolution:
    """The solution for p > 1: ``w* = tau`` on J*, ``tau (l / alpha*)^(q-1)`` outside.

    Args:
        losses: (N,) pixel losses, finite and non-negative.
        p: exponent of the norm constraint, in (1, inf].
        m: minimum number of supported pixels, a real number in [1, N].

    Returns:
        The value, w*, alpha*, J* and lambda*. Where alpha* = 0, w* is 0 on the zero losses; for
        p = inf it is 1/N on every pixel.

    Raises:
        ValueError: for p = 1, and for losses, p or m outside these ranges.

    References:
        Rota Bulò et al. 2017, Theorem 1, Eq. 10.
    """
    losses = check_losses(losses)
    if check_exponent(p) == 1:
        raise ValueError("p = 1; expected p > 1: p = 1 is theorem_2")
    in_J, alpha = algorithm1.solve(losses, p, m)
    tau = weight_cap(losses.size, p, m)
    weights = np.full(losses.size, tau)
    if math.isfinite(p):  # for p = inf, (l / alpha*)^0 = 1 throughout
        weights[~in_J] = 0.0
        if alpha > 0:
            weights[~in_J] = tau * _fractions(losses[~in_J], p, m - int(in_J.sum()))
    return PrimalDualSolution(
        _value(losses, in_J, alpha, tau, m), weights, alpha, in_J, lambda_star(losses, alpha)
    )


def theorem_2(losses: ArrayLike, m: float) -> PrimalDualSolution:
    """The solution for p = 1: the largest losses at ``tau = 1/m``, the rest spread over the ties.

    The paper's J* holds floor(m) pixels, chosen arbitrarily among ties at alpha*, and distributes
    the remaining weight by any distribution mu. Here J* is ``{l > alpha*}``, and the remaining
    weight ``tau (m - |J*|)`` is shared equally by all pixels at alpha*. This is the average of the
    paper's solutions over these choices, hence optimal, and treats equal pixels equally.

    Args:
        losses: (N,) pixel losses, finite and non-negative.
        m: minimum number of supported pixels, a real number in [1, N].

    Returns:
        The value, w*, alpha*, J* and lambda*. Where alpha* = 0, w* is 0 on the zero losses.

    Raises:
        ValueError: for losses or m outside these ranges.

    References:
        Rota Bulò et al. 2017, Theorem 2, Eq. 11.
    """
    losses = check_losses(losses)
    _, alpha = algorithm1.solve(losses, 1, m)
    above, ties = losses > alpha, losses == alpha
    tau = weight_cap(losses.size, 1, m)
    weights = np.where(above, tau, 0.0)
    if alpha > 0:
        weights[ties] = tau * (m - int(above.sum())) / int(ties.sum())
    return PrimalDualSolution(
        _value(losses, above, alpha, tau, m), weights, alpha, above, lambda_star(losses, alpha)
    )


def _value(losses: Array, in_J: Mask, alpha: float, tau: float, m: float) -> float:
    """Eq. 10 and 11, ``tau [sum_{J*} l + (m - |J*|) alpha*]``."""
    # Multiply by tau inside the sum: tau m <= 1, so nothing overflows unless L_W itself does.
    return float((tau * losses[in_J]).sum()) + tau * (m - int(in_J.sum())) * alpha


def _fractions(uncapped: Array, p: float, c: float) -> Array:
    """``(l / alpha*)^(q-1)`` of the pixels outside J*, where ``c = m - |J*|``."""
    # Substitute alpha* = (sum l^q / c)^(1/q) in the formula: the power would amplify the rounding
    # of alpha* by q - 1 = 1 / (p - 1).
    q = conjugate(p)
    log_losses = log_ratio(uncapped, float(uncapped.max()))
    log_alpha = math.log(float(np.exp(q * log_losses).sum()) / c) / q
    return np.exp(np.minimum((log_losses - log_alpha) / (p - 1), 0.0))
