"""p = 1: alpha* is an order statistic, found by integer counts alone."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmaxpool.ops.solver.histogram import count
from lossmaxpool.ops.solver.ranks import Ranks

_DIGIT_BITS = 16
_BINS = 1 << _DIGIT_BITS


def kth_largest(losses: Tensor, k: Tensor, ranks: Ranks) -> Tensor:
    """The k-th largest loss of every row, by radix: two histograms in float32, four in float64.

    Args:
        losses: (B, N) non-negative losses.
        k: (B,) int64, counted from 1; where it exceeds the pool, the result is 0.
        ranks: reduces over the pool's ranks.

    Returns:
        (B,) in the dtype of ``losses``.
    """
    integer = torch.int64 if losses.dtype == torch.float64 else torch.int32
    width = 64 if integer == torch.int64 else 32
    bits = losses.view(integer).clamp(min=0)  # -0.0 has only its sign bit set: it becomes 0.0
    prefix = torch.zeros_like(k).to(integer)
    remaining = k.unsqueeze(1)
    for shift in range(width - _DIGIT_BITS, -1, -_DIGIT_BITS):
        digit = (bits >> shift) & (_BINS - 1)
        # Only losses that share the digits found so far still compete.
        if shift < width - _DIGIT_BITS:
            high = shift + _DIGIT_BITS
            digit = torch.where((bits >> high) == (prefix >> high).unsqueeze(1), digit, _BINS)
        counts = ranks.sum(count(digit, _BINS))
        at_least = counts.flip(1).cumsum(1).flip(1)  # losses whose digit is this one or larger
        # The digit of the k-th largest is the largest one that k losses reach.
        found = ((at_least >= remaining).sum(1, keepdim=True) - 1).clamp(min=0)
        above = at_least.gather(1, found) - counts.gather(1, found)
        remaining = remaining - above
        prefix = prefix | (found.squeeze(1).to(integer) << shift)
    missing = k > ranks.sum(torch.full_like(k, losses.shape[1]))
    return torch.where(missing, 0, prefix.view(losses.dtype))
