"""The power sum of the losses that are not capped: what both bracket and Newton's step need."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossmaxpool.ops.solver.powers import relative_power
from lossmaxpool.ops.solver.ranks import Ranks


class Mass(NamedTuple):
    """``sum of l^q = power_sum * anchor^q``, in parts that neither overflow nor underflow."""

    power_sum: Tensor  # (B,) in the wide dtype
    anchor: Tensor  # (B,) the largest of the losses; 1 where all are 0
    positive: Tensor  # (B,) bool: some loss is positive


def uncapped_mass(below: Tensor, q: float, dtype: torch.dtype, ranks: Ranks) -> Mass:
    """Sum the q-th powers of the losses relative to the largest of them.

    Relative to any threshold above them they would all underflow for p near 1.

    Args:
        below: (B, N) the losses that are not capped, 0 elsewhere.
        q: the conjugate exponent, in [1, inf).
        dtype: of the sum.
        ranks: reduces over the pool's ranks.
    """
    largest = ranks.max(below.amax(1))
    positive = largest > 0
    anchor = torch.where(positive, largest, torch.ones_like(largest))
    powers = relative_power(below, anchor.unsqueeze(1), q)
    return Mass(ranks.sum(powers.sum(1, dtype=dtype)), anchor, positive)
