"""What every backend of the pixel loss is given, and how it marks pixels.

Cross-entropy with class weights v and label smoothing s, of the C scores x of a pixel of class y:

    l = (1 - s) v[y] (logsumexp(x) - x[y]) + s / C * sum_c v[c] (logsumexp(x) - x[c])

as ``torch.nn.CrossEntropyLoss(reduction="none")`` has it, and never -0.0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The loss of a pixel that does not exist. No pixel loss is negative, so the map of losses says by
# itself which pixels count, and no mask has to be stored beside it.
IGNORED = -1.0


def wide_float(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the losses: half precision loses those of confident pixels, and their order."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def as_pools(losses: Tensor, rows: int) -> Tensor:
    """The (B, *spatial) map of losses as (rows, N), also where one of the two is 0."""
    return losses.view(rows, losses.numel() // rows if rows else math.prod(losses.shape[1:]))
