"""w*, elementwise, once the threshold is known."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossmaxpool.ops.solver.powers import floor_to, relative_power
from lossmaxpool.ops.solver.threshold import Threshold, conjugate


def optimal_weights(
    losses: Tensor, valid: Tensor | None, threshold: Threshold, *, p: float
) -> Tensor:
    """The maximiser w* of Eq. 4 (Rota Bulò et al. 2017, Theorems 1 and 2).

    Args:
        losses: (B, N) float32 or float64.
        valid: (B, N) bool or None.
        threshold: what :func:`find_threshold` returned for the same arguments.
        p: the same norm exponent.

    Returns:
        (B, N) in the dtype of ``losses``: tau above alpha*, ``tau (l/alpha*)^(q-1)`` up to it,
        0 where a pixel is not valid. NaN in rows whose value is NaN.
    """
    dtype = losses.dtype
    cap = torch.where(threshold.value.isnan(), torch.nan, threshold.cap)
    cap_row = cap.to(dtype).unsqueeze(1)
    if math.isinf(p):
        weights = cap_row.expand_as(losses)
        return weights.clone() if valid is None else weights * valid
    kept = losses if valid is None else losses.masked_fill(~valid, 0)
    alpha = floor_to(threshold.alpha, dtype)
    alpha_row = alpha.unsqueeze(1)
    above = kept > alpha_row
    if p == 1:
        tie = torch.where(threshold.value.isnan(), torch.nan, threshold.tie)
        tie_row = tie.to(dtype).unsqueeze(1)
        weights = torch.where(kept == alpha_row, tie_row, 0 * tie_row)  # 0, or NaN like the tie
    else:
        exponent = conjugate(p) - 1
        positive = alpha > 0
        safe = torch.where(positive, alpha, torch.ones_like(alpha))
        # The part of alpha* that its rounding to the losses' dtype lost, raised to the same power.
        lost = torch.where(positive, (safe.to(cap.dtype) / threshold.alpha) ** exponent, 0)
        scale = (cap * lost).to(dtype).unsqueeze(1)
        below = kept.masked_fill(above, 0)
        weights = relative_power(below, safe.unsqueeze(1), exponent) * scale
    return torch.where(above, cap_row, weights)
