"""Integer histograms of the losses: exact, order-free, the same bits on every run."""

from __future__ import annotations

import torch
from torch import Tensor


def count(index: Tensor, bins: int) -> Tensor:
    """How often each bin occurs, by row.

    Args:
        index: (B, N) integers in [0, bins); entries equal to ``bins`` are dropped.
        bins: the number of bins.

    Returns:
        (B, bins) int64. Integer sums do not depend on the order of their terms.
    """
    rows = index.shape[0]
    if index.device.type == "cpu":
        offset = torch.arange(rows, dtype=index.dtype).unsqueeze(1) * (bins + 1)
        flat = (index + offset).flatten()
        counts = torch.bincount(flat, minlength=rows * (bins + 1))
        return counts.view(rows, bins + 1)[:, :bins]
    # torch.bincount reads its maximum back to the host on a GPU; a scatter does not.
    counts = torch.zeros(rows, bins + 1, dtype=torch.int64, device=index.device)
    wide_index = index.long()
    return counts.scatter_add_(1, wide_index, torch.ones_like(wide_index))[:, :bins]
