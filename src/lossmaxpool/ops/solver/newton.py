"""Newton's iteration for alpha*, from the right: monotone, finite, exact at its end."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossmaxpool.ops.solver.mass import uncapped_mass
from lossmaxpool.ops.solver.powers import floor_to
from lossmaxpool.ops.solver.ranks import Ranks


class Step(NamedTuple):
    """What one pass over the losses at a threshold tells."""

    alpha: Tensor  # (B,) the next, smaller threshold
    capped_sum: Tensor  # (B,) sum of the losses above the threshold of this pass
    room: Tensor  # (B,) m - #{l > threshold}
    settled: Tensor  # (B,) bool: the next threshold splits the losses as this one does


def step(losses: Tensor, q: float, m: Tensor, alpha: Tensor, ranks: Ranks) -> Step:
    """One Newton step on ``F(t) = sum(min(t, l^q)) - m t`` at ``t = alpha^q``.

    F is concave, so from the right of its largest root the steps fall monotonically:
    ``alpha <- (sum_{l <= alpha} l^q / (m - #{l > alpha}))^(1/q)`` (Eq. 9 of Rota Bulò et al. 2017,
    solved for the set J_alpha of the current alpha).

    Args:
        losses: (B, N) non-negative losses; pixels that do not count are 0.
        q: the conjugate exponent, in [1, inf).
        m: (B,) least support.
        alpha: (B,) an upper bound of alpha*.
        ranks: reduces over the pool's ranks.
    """
    above = losses > floor_to(alpha, losses.dtype).unsqueeze(1)
    room = m - ranks.sum(above.sum(1)).to(m.dtype)
    mass = uncapped_mass(losses.masked_fill(above, 0), q, m.dtype, ranks)
    capped_sum = ranks.sum((losses * above).sum(1, dtype=m.dtype))
    root = mass.anchor.to(m.dtype) * (mass.power_sum / room) ** (1 / q)
    following = torch.where(mass.positive, root, 0)
    # Not below the largest loss under this threshold: no loss changes sides. Otherwise one does, so
    # the iteration is finite whatever is rounded; NaN counts as settled.
    settled = ~(mass.positive & (following < mass.anchor))
    return Step(following, capped_sum, room, settled)
