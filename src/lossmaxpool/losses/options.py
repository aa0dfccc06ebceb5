"""Base classes of the loss modules: their common options and representation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from lossmaxpool.checks import check_choice
from lossmaxpool.functional import (
    Pool,
    Reduction,
    check_cross_entropy,
    pixel_cross_entropy,
    pool_cross_entropy,
    weighting_set,
)
from lossmaxpool.ops.dispatch import Backend, check_backend
from lossmaxpool.ops.weighting_set import WeightingSet

Weight = Tensor | Sequence[float] | None


class PooledLoss(nn.Module):
    """Base class of pooled pixel losses: the pool and the reduction over pools."""

    p: float
    min_support: float

    def __init__(self, pool: Pool, reduction: Reduction, backend: Backend) -> None:
        super().__init__()
        check_choice("pool", pool, get_args(Pool))
        check_choice("reduction", reduction, get_args(Reduction))
        check_backend(backend)
        self.pool: Pool = pool
        self.reduction: Reduction = reduction
        self.backend: Backend = backend

    @property
    def weighting(self) -> WeightingSet:
        """The weighting set of the current parameters."""
        return weighting_set(self.p, self.min_support)

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self._shown()]
        return ", ".join([*shown, f"pool={self.pool!r}, reduction={self.reduction!r}"])

    def _shown(self) -> tuple[str, ...]:
        """The parameters that ``extra_repr`` shows."""
        return ("p", "min_support")


class LabeledLoss(PooledLoss):
    """Base class of pooled losses of logits and labels."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Weight,
        ignore_index: int | None,
        label_smoothing: float,
        pool: Pool,
        reduction: Reduction,
        backend: Backend,
    ) -> None:
        super().__init__(pool, reduction, backend)
        check_cross_entropy(ignore_index, label_smoothing)
        self.register_buffer("weight", as_weight("weight", weight))
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def pixel_losses(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the losses (B, *spatial) that :meth:`forward` pools, detached, and their mask."""
        return pixel_cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            backend=self.backend,
        )

    def _cross_entropy(self, input: Tensor, target: Tensor) -> Tensor:
        return pool_cross_entropy(
            input,
            target,
            self.weighting,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            pool=self.pool,
            reduction=self.reduction,
            backend=self.backend,
        )


def as_weight(name: str, weight: Weight) -> Tensor | None:
    """Class weights as a float tensor, from a tensor or any sequence; None stays None."""
    if weight is None:
        return None
    try:
        tensor = torch.as_tensor(weight)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name} must be a tensor or a sequence of numbers, got {weight!r}: "
            "pass one number per class."
        ) from error
    if not tensor.is_floating_point():
        tensor = tensor.float()
    if not bool(((tensor >= 0) & (tensor < torch.inf)).all()):
        raise ValueError(
            f"{name} must be finite and >= 0, got {tensor.tolist()}: a negative weight would "
            "make losses negative."
        )
    return tensor.detach()
