"""The methods that can be compared, as data: an id, a label, and how the criterion is built.

Those of :data:`lossmaxpool.runs.config.SAMPLED` differ from others in their crops alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.losses import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingCrossEntropyLoss,
    median_frequency_weights,
)
from lossmaxpool.runs.config import LossConfig
from lossmaxpool.training.criteria import ImageMeanLoss, MeanCrossEntropyLoss


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


def _mean(loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    return MeanCrossEntropyLoss(label_smoothing=loss.label_smoothing)


def _max_pooling(loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    pooled = MaxPoolingCrossEntropyLoss(
        p=loss.p,
        min_support=loss.min_support,
        ignore_index=IGNORE_INDEX,
        label_smoothing=loss.label_smoothing,
        pool=loss.pool,
        reduction="none" if loss.pool == "image" else "mean",
    )
    return ImageMeanLoss(pooled) if loss.pool == "image" else pooled


def _inverse_median(loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    weight = median_frequency_weights(class_pixels).float()
    return MeanCrossEntropyLoss(weight, label_smoothing=loss.label_smoothing)


def _bootstrap(loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    return ImageMeanLoss(
        BootstrappedCrossEntropyLoss(
            loss.bootstrap_k,
            ignore_index=IGNORE_INDEX,
            label_smoothing=loss.label_smoothing,
            reduction="none",
        )
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
