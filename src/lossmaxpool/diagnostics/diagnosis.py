"""Where the weights of loss max-pooling sit: threshold, support, and the classes that gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lossmaxpool.functional import Pool, solve_losses, weighting_set
from lossmaxpool.ops.dispatch import Backend
from lossmaxpool.ops.ranks import ranks
from lossmaxpool.ops.weighting_set import WeightingSet


class Pooled(Protocol):
    """A loss of this package: its pixel losses, and the set that it pools them with."""

    pool: Pool
    backend: Backend

    @property
    def weighting(self) -> WeightingSet:
        """The weighting set."""

    def pixel_losses(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """The pixel losses, and which of them exist."""


@dataclass(frozen=True)
class Diagnosis:
    """Where the weights of a batch sit. R pools: the images, or 1 for the batch or all ranks.

    Attributes:
        num_valid: (R,) int64, n.
        value: (R,) the pooled loss.
        mean: (R,) the mean of the valid losses, which the value bounds from above.
        threshold: (R,) alpha*, the loss above which a pixel carries the cap.
        capped_share: (R,) ``|J*| / n``, the share of the pixels that carry the cap.
        effective_support: (R,) Kish's ``(sum w)^2 / sum w^2 / n``: the share of the pixels that a
            plain mean of as little variance would take; 1 for equal weights.
        class_mass: (R, C) share of the pool's weight on the pixels of each class; None without
            labels.
        class_share: (R, C) share of the pool's valid pixels; mass over share is how much more a
            class weighs than in the mean.
        capped: (B, ...) bool, J*.
        excess: (B, ...) ``max(l - alpha*, 0)``, the dual variable of the cap.
        valid: (B, ...) bool.
        labels: (B, ...) class ids; None without labels.
    """

    num_valid: Tensor
    value: Tensor
    mean: Tensor
    threshold: Tensor
    capped_share: Tensor
    effective_support: Tensor
    class_mass: Tensor | None
    class_share: Tensor | None
    capped: Tensor
    excess: Tensor
    valid: Tensor
    labels: Tensor | None

    def scalars(self) -> dict[str, float]:
        """Return one number each for a log: means over the pools that have a valid pixel.

        Reading them waits for the device.
        """
        counts = self.num_valid > 0
        names = ("value", "mean", "threshold", "capped_share", "effective_support")
        return {name: _mean_where(getattr(self, name), counts) for name in names}

    def class_gain(self) -> Tensor:
        """Return (C,): the weight of each class over its share of the pixels; NaN if it has none.

        Raises:
            ValueError: there are no labels.
        """
        if self.class_mass is None or self.class_share is None:
            raise ValueError("the diagnosis holds no labels: pass labels= and num_classes=.")
        return self.class_mass.sum(0) / self.class_share.sum(0)


@torch.no_grad()
def diagnose(
    criterion: Pooled, input: Tensor, target: Tensor, *, labels: Tensor | None = None
) -> Diagnosis:
    """Say where a loss puts its weights, for one batch.

    Args:
        criterion: a loss of this package with its current p and min_support.
        input: its input, e.g. logits (B, C, *spatial).
        target: its target.
        labels: (B, *spatial) class ids by which to sum the weights; None: the target, where it
            holds class ids, in number those of the logits (two for binary targets).

    Returns:
        A :class:`Diagnosis`, on the device of the input and without waiting for it. With
        ``pool="world"``, every process has to call it; the maps are those of its own pixels.

    Raises:
        TypeError: a criterion that does not pool.

    Example:
        >>> logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
        >>> found = diagnose(MaxPoolingCrossEntropyLoss(), logits, target)
        >>> sorted(found.scalars())
        ['capped_share', 'effective_support', 'mean', 'threshold', 'value']
    """
    if not hasattr(criterion, "pixel_losses") or not hasattr(criterion, "weighting"):
        raise TypeError(
            f"{type(criterion).__name__} pools no pixel losses: pass a loss of lossmaxpool, or "
            "pixel losses to diagnose_losses."
        )
    losses, valid = criterion.pixel_losses(input, target)
    classes = None
    if labels is None and target.dim() == losses.dim() + 1 and target.shape[1] == 1:
        target = target.squeeze(1)
    if labels is None and target.shape == losses.shape:
        labels = target
    if labels is not None:
        classes = input.shape[1] if input.dim() == losses.dim() + 1 else 2
    pool, backend = criterion.pool, criterion.backend
    return _diagnose(losses, valid, criterion.weighting, pool, labels, classes, backend)


@torch.no_grad()
def diagnose_losses(
    losses: Tensor,
    *,
    p: float = 1.3,
    min_support: float = 0.25,
    valid: Tensor | None = None,
    by_image: bool = True,
    labels: Tensor | None = None,
    num_classes: int | None = None,
) -> Diagnosis:
    """Say where loss max-pooling puts its weights on given pixel losses.

    Args:
        losses: (B, ...) non-negative.
        p: norm exponent in [1, inf].
        min_support: m / n in (0, 1].
        valid: (B, ...) bool, or None.
        by_image: one pool per image, or one for the batch.
        labels: (B, ...) class ids by which to sum the weights.
        num_classes: C, needed with labels.

    Returns:
        A :class:`Diagnosis`.

    Raises:
        ValueError: labels without ``num_classes`` or of another shape, or what
            :func:`~lossmaxpool.solve` refuses.

    Example:
        >>> found = diagnose_losses(torch.tensor([[0.0, 1.0, 2.0, 8.0]]), p=1, min_support=0.5)
        >>> found.effective_support
        tensor([0.5000])
    """
    if (labels is None) != (num_classes is None):
        raise ValueError(
            f"labels and num_classes belong together, got {'no ' if labels is None else ''}labels "
            f"and num_classes={num_classes!r}."
        )
    weighting = weighting_set(p, min_support)
    pool: Pool = "image" if by_image else "batch"
    return _diagnose(losses, valid, weighting, pool, labels, num_classes, "auto")


def _diagnose(
    losses: Tensor,
    valid: Tensor | None,
    weighting: WeightingSet,
    pool: Pool,
    labels: Tensor | None,
    num_classes: int | None,
    backend: Backend,
) -> Diagnosis:
    if labels is not None and labels.shape != losses.shape:
        raise ValueError(
            f"labels have shape {tuple(labels.shape)}, the losses {tuple(losses.shape)}: one class "
            "id per loss is expected."
        )
    exists = torch.ones_like(losses, dtype=torch.bool) if valid is None else valid
    shape = losses.shape
    if pool != "image":
        losses, exists = losses.reshape(1, -1), exists.reshape(1, -1)
    world = pool == "world"
    solution = solve_losses(losses, exists, weighting, world=world, backend=backend)
    rows, mask, weights = (x.flatten(1) for x in (losses, exists, solution.weights))
    n = solution.num_valid.clamp(min=1).to(weights.dtype)
    kept = rows.masked_fill(~mask, 0).to(weights.dtype)
    parts = [
        kept.sum(1, keepdim=True),
        solution.capped.flatten(1).sum(1, keepdim=True).to(weights.dtype),
        weights.sum(1, keepdim=True),
        weights.square().sum(1, keepdim=True),
    ]
    if labels is not None and num_classes is not None:
        ids = labels.reshape(rows.shape).long().clamp(0, num_classes - 1)
        parts += [_by_class(x, ids, num_classes) for x in (weights, mask.to(weights.dtype))]
    sums = ranks(world).sum(torch.cat(parts, 1))
    loss, capped, total, squares = sums[:, :4].unbind(1)
    mass = share = None
    if num_classes is not None:
        mass = sums[:, 4 : 4 + num_classes] / _nonzero(total).unsqueeze(1)
        share = sums[:, 4 + num_classes :] / n.unsqueeze(1)
    return Diagnosis(
        num_valid=solution.num_valid,
        value=solution.value,
        mean=loss / n,
        threshold=solution.threshold,
        capped_share=capped / n,
        effective_support=total.square() / _nonzero(squares) / n,
        class_mass=mass,
        class_share=share,
        capped=solution.capped.view(shape),
        excess=solution.dual.view(shape),
        valid=exists.view(shape),
        labels=labels,
    )


def _by_class(values: Tensor, ids: Tensor, num_classes: int) -> Tensor:
    """(R, N) values summed by class, (R, C)."""
    return values.new_zeros(values.shape[0], num_classes).scatter_add_(1, ids, values)


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x == 0, 1, x)


def _mean_where(values: Tensor, counts: Tensor) -> float:
    return float((values * counts).sum() / counts.sum().clamp(min=1))
