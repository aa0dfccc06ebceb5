"""From losses to alpha*: bracket by histogram, finish by Newton."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lossmaxpool.ops.solver.bracket import COARSE_WIDTH, coarse_bound, fine_bound
from lossmaxpool.ops.solver.newton import step
from lossmaxpool.ops.solver.ranks import Ranks, wide
from lossmaxpool.ops.solver.select import kth_largest

# Where the host may not wait for the device, the passes cannot be cut short when all rows have
# settled. Six are twice what the hardest loss maps need; a row that has not settled keeps an
# alpha above alpha*: its weights are feasible, its value a lower bound with a positive gap.
_PASSES_WITHOUT_SYNC = 6


class Threshold(NamedTuple):
    """All that the pixels of a pool share, one number per pool, in the wide dtype."""

    value: Tensor  # (B,) L_W (Eq. 10)
    alpha: Tensor  # (B,) alpha*
    cap: Tensor  # (B,) tau
    tie: Tensor  # (B,) the weight of a loss equal to alpha* (p = 1), else tau
    num_valid: Tensor  # (B,) n
    support: Tensor  # (B,) m


def unpack(packed: Tensor) -> Threshold:
    """The threshold from the (6, B) tensor that holds its fields, as the operators return it."""
    return Threshold(*packed.unbind(0))


def conjugate(p: float) -> float:
    """``q = p / (p - 1)``: inf for p = 1, 1 for p = inf."""
    if p == 1:
        return math.inf
    return 1.0 if math.isinf(p) else p / (p - 1)


def find_threshold(
    losses: Tensor,
    valid: Tensor | None,
    *,
    p: float,
    fraction: float,
    least: float,
    ranks: Ranks,
) -> Threshold:
    """The threshold alpha* and the value of loss max-pooling, for every row.

    Args:
        losses: (B, N) float32 or float64. A NaN, an infinity or a negative among the valid losses
            makes the row's value NaN.
        valid: (B, N) bool, or None where every pixel counts.
        p: norm exponent in [1, inf].
        fraction: m as a share of the valid pixels.
        least: the smallest m. ``m = clip(fraction * n, least, n)``.
        ranks: reduces over the pool's ranks.
    """
    dtype = wide(losses.device)
    kept = losses if valid is None else losses.masked_fill(~valid, 0)
    pixels = torch.full(losses.shape[:1], losses.shape[1], device=losses.device)
    n = ranks.sum(pixels if valid is None else valid.sum(1)).to(dtype)
    m = (fraction * n).clamp(min=least).minimum(n)
    if losses.shape[1] == 0:  # torch reduces no maximum over nothing
        kept = losses.new_zeros(losses.shape[0], 1)
    # -smallest: one kind of reduction over ranks serves both ends.
    smallest, largest = kept.aminmax(dim=1)
    largest = ranks.max(largest)
    sound = (ranks.max(-smallest) <= 0) & (largest < torch.inf)

    room = m.clamp(min=torch.finfo(dtype).tiny)  # a pool without pixels solves to 0, not to 0/0
    if p == 1:
        alpha, capped_sum, room, tie = _order_statistic(kept, m, ranks)
    else:
        wait = losses.device.type == "cpu"
        alpha, capped_sum, room = _root(kept, conjugate(p), room, largest, ranks, wait=wait)
        tie = torch.ones_like(alpha)

    occupied = n.clamp(min=1)
    cap = torch.where(n > 0, _cap(p, occupied, m.clamp(min=torch.finfo(dtype).tiny)), 0)
    value = torch.where(sound, cap * (capped_sum + room * alpha), torch.nan)
    return Threshold(value, alpha, cap, cap * tie, n, m)


def _cap(p: float, n: Tensor, m: Tensor) -> Tensor:
    """``tau = gamma m^(-1/p)`` with ``gamma = n^(-1/q)``, as ``(n/m)^(1/p) / n``."""
    return (n / m) ** (1 / p) / n


def _root(
    losses: Tensor, q: float, m: Tensor, largest: Tensor, ranks: Ranks, *, wait: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """alpha*, the sum of the losses above it, and ``m - |J*|``, for p > 1.

    With ``wait``, the host looks after every pass whether all rows have settled.
    """
    alpha = coarse_bound(losses, q, m, largest, ranks)
    if q * COARSE_WIDTH > 1:
        alpha = fine_bound(losses, q, m, alpha, ranks)
    current = step(losses, q, m, alpha, ranks)
    passes = 1
    while not bool(current.settled.all()) if wait else passes < _PASSES_WITHOUT_SYNC:
        current = step(losses, q, m, current.alpha, ranks)
        passes += 1
    return current.alpha, current.capped_sum, current.room


def _order_statistic(
    losses: Tensor, m: Tensor, ranks: Ranks
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same for p = 1, and the share of the cap that a loss equal to alpha* gets."""
    alpha = kth_largest(losses, m.floor().long() + 1, ranks)
    above = losses > alpha.unsqueeze(1)
    equal = losses == alpha.unsqueeze(1)
    room = m - ranks.sum(above.sum(1)).to(m.dtype)
    ties = ranks.sum(equal.sum(1)).to(m.dtype)
    capped_sum = ranks.sum((losses * above).sum(1, dtype=m.dtype))
    # Theorem 2 allows any distribution over the ties; the even one does not depend on their order.
    share = torch.where(alpha > 0, room / ties.clamp(min=1), 0)
    return alpha.to(m.dtype), capped_sum, room, share
