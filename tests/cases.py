"""The only generator of pixel losses: every test and benchmark draws its cases from here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Losses = NDArray[np.float64]

# The exponents of the norm constraint that every exactness claim is made for.
P_VALUES: tuple[float, ...] = (1.0, 1.0001, 1.01, 1.1, 1.3, 1.7, 2.0, 4.0, 100.0, float("inf"))


def lognormal(rng: Generator, n: int) -> Losses:
    """Four decades of losses: where the power of a small loss underflows first."""
    return rng.lognormal(mean=-1.0, sigma=2.0, size=n)


def exponential(rng: Generator, n: int) -> Losses:
    return rng.exponential(size=n)


def zeros(rng: Generator, n: int) -> Losses:
    """Exact zeros among the losses: float32 cross-entropy is 0 from a margin of 17 on."""
    losses = rng.exponential(size=n)
    losses[rng.random(n) < 0.6] = 0.0
    return losses


def ties(rng: Generator, n: int) -> Losses:
    return rng.integers(0, 4, size=n).astype(np.float64)


def constant(rng: Generator, n: int) -> Losses:
    return np.full(n, 0.1 + rng.random())


def outlier(rng: Generator, n: int) -> Losses:
    """One pixel far above the rest, as a wrong label gives."""
    losses = 0.1 * rng.random(n)
    losses[rng.integers(n)] = 1e4
    return losses


def _cross_entropy(rng: Generator, n: int, margin: float, spread: float) -> Losses:
    """Cross-entropy of 19 classes whose true logit leads by about ``margin``."""
    logits = rng.normal(size=(n, 19))
    logits[:, 0] += rng.normal(margin, spread, size=n)
    top = logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    return np.maximum(log_sum - logits[:, 0], 0.0)


def trained_ce(rng: Generator, n: int) -> Losses:
    """A network in mid-training: most pixels learnt, a tail of errors."""
    return _cross_entropy(rng, n, margin=6.0, spread=3.0)


def overfit_ce(rng: Generator, n: int) -> Losses:
    """A network that knows its training set: losses down to 1e-16, a handful of errors."""
    return _cross_entropy(rng, n, margin=18.0, spread=7.0)


LOSS_FAMILIES: dict[str, Callable[[Generator, int], Losses]] = {
    "lognormal": lognormal,
    "exponential": exponential,
    "zeros": zeros,
    "ties": ties,
    "constant": constant,
    "outlier": outlier,
    "trained_ce": trained_ce,
    "overfit_ce": overfit_ce,
}
