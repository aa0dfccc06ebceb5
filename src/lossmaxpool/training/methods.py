"""The methods that can be compared, as data: an id, a label, and how the criterion is built.

Those of :data:`lossmaxpool.training.config.SAMPLED` differ from others in their crops alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.losses import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingCrossEntropyLoss,
    median_frequency_weights,
)
from lossmaxpool.losses.pixel import upsample_to
from lossmaxpool.training.config import LossConfig
from lossmaxpool.training.ranks import mean_over_ranks


@dataclass(frozen=True)
class Method:
    """One way to train.

    Args:
        id: The name in configurations and run folders.
        label: The name in tables.
        build: Makes the criterion from the options of the losses and from the pixels per training
            image and class, (num_images, C) int64. The criterion takes logits (B, C, h, w) and a
            target (B, H, W).
    """

    id: str
    label: str
    build: Callable[[LossConfig, Tensor], nn.Module]


class MeanCrossEntropyLoss(nn.Module):
    """The mean cross-entropy over the valid pixels of a batch, shared among processes or not.

    ``sum_i weight[y_i] l_i / sum_i weight[y_i]``, and 0 where no pixel is valid: torch's own mean
    is NaN there, and a crop may well hold nothing but ignored pixels. Where a process group exists,
    the divisor is its mean over the processes. The mean of their losses, and of their gradients, is
    then that of one process with the whole batch, whatever their shares of valid pixels.

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
        return total / mean_over_ranks(mass).clamp(min=1e-12)


def _mean(loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    return MeanCrossEntropyLoss(label_smoothing=loss.label_smoothing)


def _max_pooling(loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    return MaxPoolingCrossEntropyLoss(
        loss.p,
        loss.min_support,
        ignore_index=IGNORE_INDEX,
        label_smoothing=loss.label_smoothing,
        pool=loss.pool,
    )


def _inverse_median(loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    weight = median_frequency_weights(class_pixels).float()
    return MeanCrossEntropyLoss(weight, label_smoothing=loss.label_smoothing)


def _bootstrap(loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    return BootstrappedCrossEntropyLoss(
        loss.bootstrap_k, ignore_index=IGNORE_INDEX, label_smoothing=loss.label_smoothing
    )


METHODS = {
    method.id: method
    for method in (
        Method("base", "BASE", _mean),
        Method("base+", "BASE+", _mean),
        Method("loss-only", "LMP (loss only)", _max_pooling),
        Method("lmp", "LMP", _max_pooling),
        Method("inverse-median", "Inverse median frequency", _inverse_median),
        Method("bootstrap", "Bootstrapped", _bootstrap),
    )
}
