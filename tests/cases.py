"""The only generator of pixel losses, logits and targets, for every test and benchmark."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

Losses = NDArray[np.float64]

# The exponents of the norm constraint that every exactness claim is made for.
P_VALUES: tuple[float, ...] = (1.0, 1.0001, 1.01, 1.1, 1.3, 1.7, 2.0, 4.0, 100.0, float("inf"))


def lognormal(rng: Generator, n: int) -> Losses:
    """Losses over four decades, where the powers of small losses underflow first."""
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
    """One pixel far above the rest, as caused by a wrong label."""
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
    """A network in mid-training: small losses at most pixels, a tail of errors."""
    return _cross_entropy(rng, n, margin=6.0, spread=3.0)


def overfit_ce(rng: Generator, n: int) -> Losses:
    """A network that has fitted its training set: losses down to 1e-16, a few errors."""
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

# Logits and targets of a network in mid-training

IGNORE = 255


def labeled(
    *shape: int, seed: int = 0, ignored: float = 0.0, margin: float = 3.0
) -> tuple[Tensor, Tensor]:
    """Logits (B, C, *spatial) float32 whose true class leads by about ``margin``, and class ids.

    ``ignored`` is the share of pixels that hold IGNORE.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(*shape, generator=generator)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    lead = torch.full((*target.shape,), margin).unsqueeze(1)
    logits = logits.scatter_add(1, target.unsqueeze(1), lead)
    gone = torch.rand(target.shape, generator=generator) < ignored
    return logits, target.masked_fill(gone, IGNORE)


def binary(*shape: int, seed: int = 0, ignored: float = 0.0) -> tuple[Tensor, Tensor]:
    """Scores float32 of ``shape`` that mostly point to their 0/1 labels, int64, and those."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, shape, generator=generator)
    scores = 2 * torch.randn(*shape, generator=generator) + 3 * (2 * labels - 1)
    gone = torch.rand(shape, generator=generator) < ignored
    return scores, labels.masked_fill(gone, IGNORE)


def padded(logits: Tensor, target: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """The same images padded with ``pixels`` ignored entries in the last spatial dimension."""
    beyond = 30 * torch.randn(
        *logits.shape[:-1], pixels, generator=torch.Generator().manual_seed(1)
    )
    ids = target.new_full((*target.shape[:-1], pixels), IGNORE)
    return torch.cat([logits, beyond.to(logits.dtype)], -1), torch.cat([target, ids], -1)
