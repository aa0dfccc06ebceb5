"""The set W of weighting functions, its bounds, and the checks of (losses, p, m).

References:
    Rota Bulò et al. 2017, Eq. 5 and the paragraphs around it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from lossmaxpool.paper.powers import Array, norm


def check_losses(losses: ArrayLike) -> Array:
    """Validate pixel losses and convert them to a float64 vector.

    Args:
        losses: (N,) finite, non-negative numbers, N >= 1.

    Returns:
        (N,) float64; negative zeros are replaced by zeros.

    Raises:
        ValueError: for another shape, no pixels, non-numbers, NaN, infinities or negative values.
    """
    array = np.asarray(losses)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"losses have shape {array.shape}; expected one dimension with at least one pixel: "
            "pass the valid pixels of one image, flattened"
        )
    if array.dtype.kind not in "fiu":
        raise ValueError(
            f"losses have dtype {array.dtype}; expected real numbers: convert them to float64"
        )
    array = array.astype(np.float64)
    bad = ~np.isfinite(array) | (array < 0)
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"{int(bad.sum())} of {array.size} losses are NaN, infinite or negative, the first is "
            f"{array[first]} at index {first}; expected finite losses >= 0: leave those pixels out "
            "or repair the pixel loss"
        )
    return array + 0.0


def check_exponent(p: float) -> float:
    """Validate the exponent p and convert it to float.

    Raises:
        ValueError: if p is outside [1, inf].
    """
    if not float(p) >= 1:
        raise ValueError(f"p = {p}; expected 1 <= p <= inf: raise p to 1 or more")
    return float(p)


def check_support(m: float, n: int) -> float:
    """Validate the support m and convert it to float.

    Raises:
        ValueError: if m is outside [1, n].
    """
    if not 1 <= float(m) <= n:
        raise ValueError(f"m = {m} for n = {n} pixels; expected 1 <= m <= n: clip m to [1, {n}]")
    return float(m)


def conjugate(p: float) -> float:
    """Conjugate exponent ``q = p / (p - 1)``, with its limits: inf at p = 1, 1 at p = inf.

    Example:
        >>> conjugate(2.0), conjugate(1.0), conjugate(float("inf"))
        (2.0, inf, 1.0)
    """
    p = check_exponent(p)
    if p == 1:
        return math.inf
    return 1.0 if math.isinf(p) else p / (p - 1)


def norm_bound(n: int, p: float) -> float:
    """Bound of the p-norm, ``gamma = n^(-1/q)``: the p-norm of the uniform weights 1/n."""
    return math.pow(n, 1 / check_exponent(p) - 1)


def weight_cap(n: int, p: float, m: float) -> float:
    """Bound of a single weight, ``tau = gamma m^(-1/p)``, from 1/n (m = n) to gamma (m = 1)."""
    p = check_exponent(p)
    # gamma m^(-1/p) = (n/m)^(1/p) / n, which is exactly 1/n for m = n and for p = inf.
    return math.pow(n / check_support(m, n), 1 / p) / n


def support(n: int, p: float, tau: float) -> float:
    """Support that corresponds to a cap, ``m = (gamma / tau)^p``: the inverse of ``weight_cap``.

    Raises:
        ValueError: if p is infinite (the cap is 1/n for every m) or tau is outside [1/n, gamma].
    """
    gamma = norm_bound(n, p)
    if math.isinf(p):
        raise ValueError("p = inf; expected a finite p: for p = inf, tau = 1/n whatever m is")
    if not 1 / n <= tau <= gamma:
        raise ValueError(
            f"tau = {tau} for n = {n}, p = {p}; expected 1/n = {1 / n} <= tau <= gamma = {gamma}: "
            "a lower cap excludes the uniform weights, a higher one acts like gamma"
        )
    return math.pow(gamma / tau, p)


def contains(weights: ArrayLike, p: float, m: float, *, rtol: float = 1e-12) -> bool:
    """Whether ``||w||_p <= gamma`` and ``||w||_inf <= tau``, each up to the factor ``1 + rtol``.

    Args:
        weights: (N,) weighting function.
        p: exponent in [1, inf].
        m: support in [1, N].
        rtol: slack for rounding, relative to gamma and tau.

    Returns:
        Whether ``weights`` is in W.

    Raises:
        ValueError: for p or m out of range, or weights that are not a vector of finite numbers.

    Example:
        >>> contains([0.25, 0.25, 0.25, 0.25], p=1.3, m=2), contains([1, 0, 0, 0], p=1.3, m=2)
        (True, False)

    References:
        Rota Bulò et al. 2017, Eq. 5.
    """
    array = np.asarray(weights, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"weights have shape {array.shape}, {int((~np.isfinite(array)).sum())} of them not "
            "finite; expected one dimension, at least one pixel, finite numbers: pass one weight "
            "per valid pixel"
        )
    n, slack = array.size, 1 + rtol
    return norm(array, check_exponent(p)) <= slack * norm_bound(n, p) and norm(
        array, math.inf
    ) <= slack * weight_cap(n, p, m)
