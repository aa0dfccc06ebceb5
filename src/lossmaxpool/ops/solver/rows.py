"""Rows of losses to packed thresholds and weights, by the backend that is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmaxpool.ops.fused.choice import choose_solver
from lossmaxpool.ops.solver.ranks import ranks
from lossmaxpool.ops.solver.threshold import find_threshold
from lossmaxpool.ops.weighting_set import WeightingSet


def solve_rows(
    losses: Tensor,
    valid: Tensor | None,
    weighting: WeightingSet,
    *,
    world: bool,
    marked: bool = False,
    backend: str = "auto",
) -> Tensor:
    """The threshold of every row, as one tensor.

    Args:
        losses: (R, N) float32 or float64.
        valid: (R, N) bool, or None.
        weighting: the weighting set.
        world: one pool over all ranks, which torch's own operations solve.
        marked: a negative loss marks a pixel that does not exist; it is unsound otherwise.
        backend: "auto", "torch", "native" or "triton".

    Returns:
        (6, R) the fields of :class:`~lossmaxpool.ops.solver.threshold.Threshold`, wide dtype.

    Raises:
        RuntimeError: a backend that cannot solve these losses.
    """
    over = ranks(world)
    kernels = choose_solver(losses, backend).kernels
    if over.size == 1:
        packed: Tensor = kernels.solve(losses, valid, weighting, marked)
        return packed
    if marked:
        valid = ~(losses < 0)  # a NaN exists
    p, fraction, least = weighting
    return torch.stack(
        find_threshold(losses, valid, p=p, fraction=fraction, least=least, ranks=over)
    )


def weigh_rows(
    losses: Tensor,
    valid: Tensor | None,
    packed: Tensor,
    weighting: WeightingSet,
    *,
    backend: str = "auto",
) -> Tensor:
    """(R, N) losses and their (6, R) thresholds -> (R, N) weights w*, by the same backend."""
    weights: Tensor = choose_solver(losses, backend).kernels.weigh(losses, valid, packed, weighting)
    return weights
