"""Pixel losses and their gradient as torch computes them in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

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
