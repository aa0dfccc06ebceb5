"""From a method to its criterion: those of the package from the options of the losses."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.losses import (
    BootstrappedCrossEntropyLoss,
    LogitAdjustedLoss,
    LossSchedule,
    MaxPoolingCrossEntropyLoss,
    OHEMCrossEntropyLoss,
    Schedule,
    effective_number_weights,
    enet_weights,
    inverse_sqrt_frequency_weights,
    median_frequency_weights,
)
from lossmaxpool.ops.ranks import ranks
from lossmaxpool.runs.config import LossConfig, ScheduleConfig, TrainConfig
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
    if criterion.name in _ADJUSTED:
        adjusted = _ADJUSTED[criterion.name](loss, weight)
        return LogitAdjustedLoss(adjusted, class_pixels, tau=loss.tau)
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


def _top_k(loss: LossConfig, weight: Tensor | None) -> nn.Module:
    return MaxPoolingCrossEntropyLoss(
        p=1.0,
        min_support=loss.top_share,
        weight=weight,
        ignore_index=IGNORE_INDEX,
        label_smoothing=loss.label_smoothing,
        pool="world",
    )


class _OHEM(nn.Module):
    """Hard example mining that keeps at least a share of the batch, whatever its size."""

    def __init__(self, loss: LossConfig, weight: Tensor | None) -> None:
        super().__init__()
        self.share = loss.ohem_min_kept
        self.criterion = OHEMCrossEntropyLoss(
            loss.ohem_threshold,
            weight=weight,
            ignore_index=IGNORE_INDEX,
            label_smoothing=loss.label_smoothing,
            pool="world",
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        pixels = target.numel() * ranks(True).size
        self.criterion.min_kept = max(1, round(self.share * pixels))
        loss: Tensor = self.criterion(logits, target)
        return loss


def loss_schedule(config: TrainConfig, criterion: nn.Module, step: int) -> LossSchedule | None:
    """Return what moves p and min_support of a run's criterion, set to a step; or None.

    Args:
        config: The run.
        criterion: Its criterion, whose parts with p and min_support are moved.
        step: The step that comes next.
    """
    loss, steps = config.loss, config.optimization.steps
    p = _schedule(loss.p_schedule, loss.p, steps)
    min_support = _schedule(loss.min_support_schedule, loss.min_support, steps)
    if (p is None and min_support is None) or not config.chosen.max_pooled:
        return None
    found = LossSchedule(criterion, p=p, min_support=min_support)
    found.load_state_dict({"steps_done": step})
    return found


def _schedule(schedule: ScheduleConfig | None, end: float, steps: int) -> Schedule | None:
    if schedule is None:
        return None
    return Schedule(schedule.kind, schedule.start, end, schedule.steps or steps)


_OWN: dict[str, Callable[[LossConfig, Tensor | None], nn.Module]] = {
    "cross-entropy": _cross_entropy,
    "max-pooling": _max_pooling,
    "bootstrap": _bootstrap,
    "ohem": _OHEM,
    "top-k": _top_k,
}
# Those that see the logits raised by the log frequency of their class.
_ADJUSTED = {"logit-adjustment": _cross_entropy, "adjusted-max-pooling": _max_pooling}
WEIGHTINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "median-frequency": median_frequency_weights,
    "effective-number": effective_number_weights,
    "enet": enet_weights,
    "inverse-sqrt": inverse_sqrt_frequency_weights,
}
