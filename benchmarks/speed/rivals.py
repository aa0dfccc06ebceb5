"""The losses of others, as they are found in public code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

P, SHARE = 1.3, 0.25  # the paper's p and least support, everywhere in this benchmark
IGNORED = 255


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of (B, C, H, W) logits and (B, H, W) target."""
    return F.cross_entropy(logits, target, ignore_index=IGNORED)


def pixel_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """(B, N) losses."""
    return F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none").flatten(1)


def sorted_max_pool(losses: Tensor, p: float = P, share: float = SHARE) -> Tensor:
    """Loss max-pooling of (B, N) losses as Algorithm 1 prescribes it: sort, then cumulative sums.

    Every pixel exists, more than m losses of a row are positive, and p is greater than 1.
    """
    n = losses.shape[1]
    q, m = p / (p - 1), max(share * n, 1.0)
    order, _ = losses.detach().sort(dim=1)
    largest = order[:, -1:]
    # In float64 and relative to the largest loss: the powers of small losses underflow otherwise.
    power = (order / largest).double() ** q
    mass = power.cumsum(1)
    room = m - n + torch.arange(1, n + 1, dtype=torch.float64, device=losses.device)
    capped = room * power > mass
    first = torch.where(capped.any(1), capped.int().argmax(1), n).unsqueeze(1)
    below = torch.cat([torch.zeros_like(mass[:, :1]), mass], dim=1).gather(1, first)
    alpha = (below / (m - n + first)) ** (1 / q) * largest
    tau = (n / m) ** (1 / p) / n
    weights = tau * (losses.detach() / alpha.to(losses.dtype)).clamp(max=1) ** (q - 1)
    return (weights * losses).sum(1).mean()


def top_k(losses: Tensor, share: float = SHARE) -> Tensor:
    """Bootstrapping (OHEM) of (B, N) losses: the mean of the highest, found by torch.topk."""
    return losses.topk(max(1, int(share * losses.shape[1])), dim=1).values.mean()


def by_sort(logits: Tensor, target: Tensor) -> Tensor:
    """Loss max-pooling of logits with Algorithm 1."""
    return sorted_max_pool(pixel_cross_entropy(logits, target).float())


def bootstrapped(logits: Tensor, target: Tensor) -> Tensor:
    """Bootstrapping of logits."""
    return top_k(pixel_cross_entropy(logits, target))


def liger(logits: Tensor, target: Tensor) -> Tensor:
    """Liger's fused cross-entropy, whose logits are rows: the copy from (B, C, H, W) is its cost.

    It overwrites its input with the gradient, so it needs that copy in any case.
    """
    from liger_kernel.ops import LigerCrossEntropyFunction

    rows = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    value: Tensor = LigerCrossEntropyFunction.apply(rows, target.reshape(-1), None, IGNORED)[0]
    return value
