"""Loss max-pooling for JAX: a function of pixel losses with its own derivative, by sorting.

It shares no code with the operator for PyTorch, and no kernels: the threshold is looked up among
the sorted losses, in powers relative to the largest one and in logarithms, so that every p works.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array

from lossmaxpool.checks import check_choice, check_norm, check_share

Pool = Literal["image", "batch"]
Reduction = Literal["mean", "sum", "none"]

# The logarithm of 0, finite so that differences of two of them are numbers.
_LOG_ZERO = -1e30


def loss_max_pool(
    losses: Array,
    *,
    p: float = 1.3,
    min_support: float = 0.25,
    valid: Array | None = None,
    pool: Pool = "image",
    reduction: Reduction = "mean",
) -> Array:
    """:func:`lossmaxpool.loss_max_pool` for JAX arrays, under ``jit``, ``grad`` and ``vmap``.

    Args:
        losses: (B, ...) non-negative pixel losses, e.g. of
            ``optax.softmax_cross_entropy_with_integer_labels``; (N,) needs ``pool="batch"``.
            float64 is computed as such where JAX allows it, everything else in float32.
        p: norm exponent in [1, inf], a Python number: static under ``jit``.
        min_support: m / n in (0, 1], likewise static.
        valid: (B, ...) bool, False for ignored pixels; None: all are valid.
        pool: the pixels that share one weighting: each "image", or the "batch" of one device.
        reduction: over images with a valid pixel: "mean", "sum", or "none" (one value per pool).

    Returns:
        A scalar, or (B,) / (1,) for reduction "none". A pool without a valid pixel gives 0 and zero
        gradients; a valid loss that is NaN, infinite or negative gives NaN.

    Raises:
        ValueError: options outside their range, shapes that do not match, or (N,) by image.
        TypeError: losses that are not floating, or a mask that is not bool.

    References:
        Rota Bulò et al. 2017, Eq. 4, 5 and 10, Theorems 1 and 2; gradient: Sect. 4.
    """
    check_norm(p)
    check_share("min_support", min_support)
    check_choice("pool", pool, get_args(Pool))
    check_choice("reduction", reduction, get_args(Reduction))
    if not jnp.issubdtype(losses.dtype, jnp.floating):
        raise TypeError(f"losses must be floating, got {losses.dtype}: pass pixel losses.")
    if losses.ndim == 0 or (losses.ndim == 1 and pool == "image"):
        raise ValueError(
            f"losses have shape {losses.shape} and no pixels of an image: pass (B, ...) losses, or "
            '(N,) losses with pool="batch".'
        )
    if valid is None:
        valid = jnp.ones(losses.shape, dtype=bool)
    if valid.dtype != jnp.bool_:
        raise TypeError(f"valid must be bool, got {valid.dtype}: pass e.g. target != 255.")
    if valid.shape != losses.shape:
        raise ValueError(
            f"valid has shape {valid.shape}, losses {losses.shape}: one flag per loss is expected."
        )
    by_image = pool == "image"
    shape = (losses.shape[0], math.prod(losses.shape[1:])) if by_image else (1, losses.size)
    wide = losses if losses.dtype == jnp.float64 else losses.astype(jnp.float32)
    mask = valid.reshape(shape)
    values = _pool(wide.reshape(shape), mask, float(p), float(min_support))
    if reduction == "none":
        return values
    total = values.sum()
    return total if reduction == "sum" else total / jnp.maximum(mask.any(1).sum(), 1)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _pool(losses: Array, valid: Array, p: float, fraction: float) -> Array:
    """The values of (R, N) pools, (R,)."""
    return _value(losses, valid, _weights(losses, valid, p, fraction))


def _forward(losses: Array, valid: Array, p: float, fraction: float) -> tuple[Array, Array]:
    weights = _weights(losses, valid, p, fraction)
    return _value(losses, valid, weights), weights


def _backward(p: float, fraction: float, weights: Array, grad: Array) -> tuple[Array, None]:
    """The gradient with respect to the losses is w* itself (envelope theorem)."""
    return grad[:, None] * weights, None


_pool.defvjp(_forward, _backward)


def _value(losses: Array, valid: Array, weights: Array) -> Array:
    return jnp.sum(jnp.where(valid, weights * losses, 0), axis=1)


def _weights(losses: Array, valid: Array, p: float, fraction: float) -> Array:
    """The maximizer w* of (R, N) pools; NaN for a pool with an unsound loss."""
    if losses.shape[1] == 0:
        return jnp.zeros_like(losses)
    n = valid.sum(1, keepdims=True).astype(losses.dtype)
    some = jnp.maximum(n, 1)
    m = jnp.clip(fraction * some, 1, some)
    kept = jnp.where(valid, losses, 0)
    if math.isinf(p):
        weights = jnp.broadcast_to(1 / some, losses.shape)
    elif p == 1:
        weights = _top(kept, valid, m)
    else:
        weights = _between(kept, valid, some, m, p)
    unsound = valid & ~((losses >= 0) & (losses < jnp.inf))
    weights = jnp.where(valid, weights, 0)
    return jnp.where(unsound.any(1, keepdims=True) & valid, jnp.nan, weights)


def _top(losses: Array, valid: Array, m: Array) -> Array:
    """Theorem 2: 1/m on the floor(m) largest losses, the rest spread over the ties of the next."""
    ranked = _descending(losses, valid)
    place = jnp.minimum(jnp.floor(m).astype(int), losses.shape[1] - 1)
    alpha = jnp.maximum(jnp.take_along_axis(ranked, place, 1), 0)
    above, ties = valid & (losses > alpha), valid & (losses == alpha)
    rest = (m - above.sum(1, keepdims=True)) / jnp.maximum(ties.sum(1, keepdims=True), 1)
    return jnp.where(above, 1, jnp.where(ties, jnp.minimum(rest, 1), 0)) / m


def _between(losses: Array, valid: Array, n: Array, m: Array, p: float) -> Array:
    """Theorem 1, 1 < p < inf, with losses relative to the largest."""
    q, exponent = p / (p - 1), 1 / (p - 1)
    ranked = _descending(losses, valid)
    largest = jnp.where(ranked[:, :1] > 0, ranked[:, :1], 1)
    sizes = _log(ranked / largest)
    # With the k largest capped, eta has the root (sum of the others' powers / (m - k))^(1/q). It is
    # right for the smallest k for which it is not below the largest of the others.
    k = jnp.arange(losses.shape[1], dtype=losses.dtype)
    sums = jax.lax.cumlogsumexp(q * sizes, axis=1, reverse=True)
    roots = (sums - jnp.log(jnp.maximum(m - k, 1e-30))) / q
    right = (k < m) & (roots >= sizes)
    right |= k == jnp.ceil(m) - 1  # it always is, up to rounding
    alpha = jnp.take_along_axis(roots, jnp.argmax(right, 1)[:, None], 1)
    below = jnp.exp(exponent * jnp.minimum(_log(losses / largest) - alpha, 0))
    return (n / m) ** (1 / p) / n * jnp.where(losses > 0, below, 0)


def _descending(losses: Array, valid: Array) -> Array:
    return -jnp.sort(jnp.where(valid, -losses, 1), axis=1)


def _log(x: Array) -> Array:
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), _LOG_ZERO)
