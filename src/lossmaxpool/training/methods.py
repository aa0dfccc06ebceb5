"""From a method to its criterion: those of the package from the options of the losses."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.losses import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingCrossEntropyLoss,
    median_frequency_weights,
)
from lossmaxpool.runs.config import LossConfig
from lossmaxpool.runs.methods import Criterion, Imported, Sum
from lossmaxpool.training.criteria import ImageMeanLoss, MeanCrossEntropyLoss, WeightedSum
from lossmaxpool.training.imported import build_imported


def build_criterion(criterion: Criterion, loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    """Return a criterion: logits (B, C, h, w) and target (B, H, W) to a scalar.

    Args:
        criterion: How it is built.
        loss: The options of the losses.
        class_pixels: Pixels per training image and class, (num_images, C) int64.

    Raises:
        ValueError: A criterion by import path cannot be imported, built or used.
    """
    if isinstance(criterion, Sum):
        parts = [build_criterion(part, loss, class_pixels) for part in criterion.parts]
        return WeightedSum(parts, criterion.weights)
    name = criterion.class_weights
    weight = None if name is None else WEIGHTINGS[name](class_pixels).float()
    if isinstance(criterion, Imported):
        return build_imported(criterion, class_pixels.shape[1], weight)
    return _OWN[criterion.name](loss, weight)


def _cross_entropy(loss: LossConfig, weight: Tensor | None) -> nn.Module:
    return MeanCrossEntropyLoss(weight, label_smoothing=loss.label_smoothing)


def _max_pooling(loss: LossConfig, weight: Tensor | None) -> nn.Module:
    pooled = MaxPoolingCrossEntropyLoss(
        p=loss.p,
        min_support=loss.min_support,
        weight=weight,
        ignore_index=IGNORE_INDEX,
        label_smoothing=loss.label_smoothing,
        pool=loss.pool,
        reduction="none" if loss.pool == "image" else "mean",
    )
    return ImageMeanLoss(pooled) if loss.pool == "image" else pooled


def _bootstrap(loss: LossConfig, weight: Tensor | None) -> nn.Module:
    return ImageMeanLoss(
        BootstrappedCrossEntropyLoss(
            loss.bootstrap_k,
            weight=weight,
            ignore_index=IGNORE_INDEX,
            label_smoothing=loss.label_smoothing,
            reduction="none",
        )
    )


_OWN: dict[str, Callable[[LossConfig, Tensor | None], nn.Module]] = {
    "cross-entropy": _cross_entropy,
    "max-pooling": _max_pooling,
    "bootstrap": _bootstrap,
}
WEIGHTINGS: dict[str, Callable[[Tensor], Tensor]] = {"median-frequency": median_frequency_weights}
