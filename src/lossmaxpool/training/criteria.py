"""Means whose divisor all processes share.

Where the pixels or images that count are not the same number in each process, the mean of the
processes' own means is not that of one process with the whole batch. Divided by the mean of that
number over the processes, it is, and so is the mean of the gradients, which DDP takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch import distributed as dist

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.ops.upsampling import upsample_to

# No image of any process counts: the sum is 0, and so is the mean.
_NONE = 1e-12


class MeanCrossEntropyLoss(nn.Module):
    """The mean cross-entropy over the valid pixels of a batch, shared among processes or not.

    ``sum_i weight[y_i] l_i / sum_i weight[y_i]``, and 0 where no pixel is valid: torch's own mean
    is NaN there, and a crop may well hold nothing but ignored pixels.

    Args:
        weight: Class weights (C,), or None for equal ones.
        label_smoothing: Probability mass moved from the true class to all classes.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (B, C, h, w), upsampled to the target (B, H, W)."""
        total = F.cross_entropy(
            upsample_to(logits, target.shape[-2:]).float(),
            target,
            weight=self.weight,
            ignore_index=IGNORE_INDEX,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        valid = target[target != IGNORE_INDEX]
        mass = total.new_tensor(valid.numel()) if self.weight is None else self.weight[valid].sum()
        return total / mean_over_ranks(mass).clamp(min=_NONE)


class ImageMeanLoss(nn.Module):
    """The mean of a loss per image over the images that have a valid pixel.

    Args:
        per_image: Logits (B, C, h, w) and target (B, H, W) to losses (B,), 0 for an image without
            a valid pixel.
    """

    def __init__(self, per_image: nn.Module) -> None:
        super().__init__()
        self.per_image = per_image

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over a batch, shared among processes or not; 0 where none is valid."""
        losses: Tensor = self.per_image(logits, target)
        valid = (target != IGNORE_INDEX).flatten(1).any(dim=1).sum()
        return losses.sum() / mean_over_ranks(valid.to(losses.dtype)).clamp(min=_NONE)


class WeightedSum(nn.Module):
    """A weighted sum of criteria on the same logits.

    Args:
        parts: Each takes logits (B, C, h, w) and target (B, H, W) to a scalar.
        weights: One number for each.
    """

    def __init__(self, parts: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights = tuple(weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the sum, a scalar."""
        losses = [part(logits, target) for part in self.parts]
        pairs = zip(losses, self.weights, strict=True)
        return torch.stack([weight * loss for loss, weight in pairs]).sum()


def mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a value over the default process group; without a group, the value.

    No gradient flows through it. Every process must call it.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
