"""The reference of all tests: pixel losses by torch in float64, pooled by the oracle."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool.paper import theorems

Criterion = Callable[[Tensor, Tensor], Tensor]

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def reference_losses(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """(B, *spatial) float64 losses, 0 at ignored pixels; differentiable."""
    scores = logits.double()
    if logits.shape[2:] != target.shape[1:]:
        mode = _MODES[logits.dim() - 2]
        scores = F.interpolate(scores, size=target.shape[1:], mode=mode, align_corners=False)
    return F.cross_entropy(
        scores,
        target.long(),
        weight=None if weight is None else weight.double(),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction="none",
    )


def reference_gradient(weights: Tensor, logits: Tensor, target: Tensor, *options: object) -> Tensor:
    """The float64 gradient of the weighted sum of the losses, in the shape of the logits."""
    leaf = logits.detach().double().requires_grad_()
    losses = reference_losses(leaf, target, *options)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad((weights.double() * losses).sum(), leaf)
    return gradient


def pooled(
    losses: Tensor,
    valid: Tensor | None = None,
    *,
    p: float = 1.3,
    min_support: float = 0.25,
    least: float = 1.0,
) -> Tensor:
    """L_W of every image that has a valid pixel, in float64, with the oracle's w* as gradient.

    Losses (B, ...), valid (B, ...) bool.
    """
    exists = torch.ones_like(losses, dtype=torch.bool) if valid is None else valid
    values = []
    for image, mask in zip(losses, exists, strict=True):
        kept = image[mask].double()
        if n := kept.numel():
            m = min(max(min_support * n, least), n)
            weights = theorems.solve(kept.detach().numpy(), p, m).weights
            values.append((torch.from_numpy(weights) * kept).sum())
    return torch.stack(values)


def value_and_gradient(
    criterion: Criterion, logits: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient with respect to a fresh copy of the logits."""
    leaf = logits.detach().clone().requires_grad_()
    value = criterion(leaf, target)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def assert_agree(
    criterion: Criterion, other: Criterion, inputs: tuple[Tensor, Tensor], tolerance: float
) -> None:
    """Same values and same gradients, relative to the largest entry of each."""
    ours, truth = (value_and_gradient(c, *inputs) for c in (criterion, other))
    for ours_part, truth_part in zip(ours, truth, strict=True):
        assert_near(ours_part, truth_part, tolerance)


def assert_near(ours: Tensor, truth: Tensor, tolerance: float) -> None:
    """No entry is off by more than ``tolerance`` times the largest entry."""
    assert ours.shape == truth.shape
    room = tolerance * float(truth.abs().max()) if truth.numel() else 0.0
    torch.testing.assert_close(ours.double(), truth.double(), rtol=0, atol=room)
