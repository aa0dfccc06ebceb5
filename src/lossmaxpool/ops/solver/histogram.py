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
    # torch.bincount is the faster one, but on a GPU it reads its maximum back to the host.
    return _by_bincount(index, bins) if index.device.type == "cpu" else _by_scatter(index, bins)


def _by_bincount(index: Tensor, bins: int) -> Tensor:
    rows = index.shape[0]
    offset = torch.arange(rows, dtype=index.dtype).unsqueeze(1) * (bins + 1)
    counts = torch.bincount((index + offset).flatten(), minlength=rows * (bins + 1))
    return counts.view(rows, bins + 1)[:, :bins]


def _by_scatter(index: Tensor, bins: int) -> Tensor:
    counts = torch.zeros(index.shape[0], bins + 1, dtype=torch.int64, device=index.device)
    place = index.long()
    return counts.scatter_add_(1, place, torch.ones_like(place))[:, :bins]
