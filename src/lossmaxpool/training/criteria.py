"""From a method to its criterion, and the criteria that a run adds to those of the package.

Their means have a divisor that all processes share. Where the pixels or images that count are not
the same number in each process, the mean of the processes' own means is not that of one process
with the whole batch. Divided by the mean of that number over the processes, it is, and so is the
mean of the gradients, which DDP takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
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
from lossmaxpool.ops.upsampling import upsample_to
from lossmaxpool.runs.config import LossConfig, ScheduleConfig, TrainConfig
from lossmaxpool.runs.methods import Criterion, Imported, Sum
from lossmaxpool.training.imported import build_imported

# No image of any process counts: the sum is 0, and so is the mean.
_NONE = 1e-12


class MeanCrossEntropyLoss(nn.Module):
    """The mean cross-entropy over the valid pixels of a batch, shared among processes or not.

    ``sum_i weight[y_i] l_i / sum_i weight[y_i]``, and 0 where no pixel is valid: torch's own mean
    is NaN there, and a crop may well hold nothing but ignored pixels.
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
    over = ranks(True)
    return over.sum(value.detach()) / over.size


def build_criterion(criterion: Criterion, loss: LossConfig, class_pixels: Tensor) -> nn.Module:
    """Return a criterion: logits (B, C, h, w) and target (B, H, W) to a scalar.

    Args:
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
