"""The stages of the operator (``ops.backends.Kernels``) in plain torch, for every device.

The cross-entropy works on a cache-sized strip of scores at a time. Low-resolution logits are
upsampled one strip at a time, again in the backward pass; apart from the gradient itself, nothing
of the size of all scores is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lossmaxpool.ops.backends import IGNORED, as_pools, wide_float
from lossmaxpool.ops.backends.threshold import find_threshold, optimal_weights
from lossmaxpool.ops.ranks import Local
from lossmaxpool.ops.upsampling import Upsampling
from lossmaxpool.ops.weighting_set import WeightingSet

# Scores per strip. On a CPU, a strip and its softmax fit in the L2 cache; elsewhere, a strip is
# large enough to hide launch overhead, and small compared with the logits of a training batch.
_STRIP_ON_CPU = 1 << 19
_STRIP = 1 << 24


class _PixelLoss(NamedTuple):
    """The options of the pixel cross-entropy."""

    weight: Tensor | None  # (C,) class weights
    ignore_index: int
    label_smoothing: float  # in [0, 1]


def prepare(*_: object) -> None:
    """Nothing: next to torch's operations, a call costs little."""


prepare_pool = prepare


class _Strip(NamedTuple):
    images: slice
    rows: slice


def pixel_losses(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> Tensor:
    """(B, *spatial) losses in at least float32; any floating dtype and strides of the logits."""
    loss = _PixelLoss(weight, ignore_index, label_smoothing)
    logits, spatial = _with_rows(logits, target)
    losses = torch.empty(spatial, dtype=wide_float(logits.dtype), device=logits.device)
    upsampling = Upsampling(logits.shape[2:], spatial[1:], logits.device, losses.dtype)
    labels = target.reshape(spatial)
    for images, rows in _strips(logits, spatial):
        scores = upsampling.strip(logits[images], rows.start, rows.stop)
        losses[images, rows] = _strip_losses(scores, labels[images, rows], loss)
    return losses.view(target.shape)


def solve(losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool) -> Tensor:
    """(R, N) losses and mask -> (6, R) thresholds (see ``ops.backends.Kernels``)."""
    if marked:
        valid = ~(losses < 0)  # a NaN counts as valid
        if losses.device.type == "cpu" and bool(valid.all()):
            valid = None
    return find_threshold(losses, valid, weighting, Local())


def weigh(losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet) -> Tensor:
    """(R, N) losses and their (6, R) thresholds -> (R, N) weights w*."""
    return optimal_weights(losses, valid, packed, weighting)


def gradient(
    grad_value: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    losses: Tensor,
    packed: Tensor,
    ignore_index: int,
    label_smoothing: float,
    weighting: WeightingSet,
    out: Tensor | None = None,
) -> Tensor:
    """The gradient, in shape, dtype and memory format of the logits; 0 at ignored pixels."""
    loss = _PixelLoss(weight, ignore_index, label_smoothing)
    shape = logits.shape
    logits, spatial = _with_rows(logits, target)
    rows_of_losses = as_pools(losses, grad_value.shape[0])
    exists = ~(rows_of_losses < 0)  # a NaN counts as valid
    weights = optimal_weights(rows_of_losses, exists, packed, weighting)
    weights *= grad_value.unsqueeze(1)
    labels, weights = target.reshape(spatial), weights.view(spatial)
    ignored = exists.logical_not_().view(spatial)
    upsampling = Upsampling(logits.shape[2:], spatial[1:], logits.device, losses.dtype)
    whole = logits.shape[2:] == spatial[1:]
    # Gradients accumulated over strips are kept in float32; others are written in the final dtype.
    if not whole:
        grad = torch.zeros_like(logits, dtype=losses.dtype)
    else:
        grad = torch.empty_like(logits) if out is None else out.view(logits.shape)
    for images, rows in _strips(logits, spatial):
        scores = upsampling.strip(logits[images], rows.start, rows.stop)
        strip = _strip_gradient(
            scores, labels[images, rows], weights[images, rows], ignored[images, rows], loss
        )
        if whole:
            grad[images, :, rows] = strip
        else:
            upsampling.add_transposed(strip, grad[images], rows.start, rows.stop)
    grad = grad.to(logits.dtype).view(shape)
    return grad if out is None or whole else out.copy_(grad)


def _strip_losses(scores: Tensor, labels: Tensor, loss: _PixelLoss) -> Tensor:
    """The losses (b, ...) of one strip, from its scores (b, C, ...) and labels."""
    classes = scores.shape[1]
    ids = labels.long()
    ignored = ids == loss.ignore_index
    place = ids.clamp(0, classes - 1)
    log_p = torch.log_softmax(scores, 1)
    weight = None if loss.weight is None else loss.weight.to(scores.dtype)
    losses = -log_p.gather(1, place.unsqueeze(1)).squeeze(1)
    if weight is not None:
        losses *= weight[place]
    if loss.label_smoothing:
        if weight is not None:
            log_p *= _along_classes(weight, scores)
        smooth = log_p.sum(1) * (-loss.label_smoothing / classes)
        hard = 1 - loss.label_smoothing
        losses = losses * hard + smooth if hard else smooth
    # Confident pixels can give -0.0 or slightly less; NaN stays NaN.
    losses.clamp_(min=0).add_(0.0)
    losses.masked_fill_(ids != place, torch.nan)
    return losses.masked_fill_(ignored, IGNORED)


def _strip_gradient(
    scores: Tensor, labels: Tensor, weights: Tensor, ignored: Tensor, loss: _PixelLoss
) -> Tensor:
    """d(sum of weights * losses) / d scores, (b, C, ...)."""
    classes = scores.shape[1]
    place = labels.long().clamp(0, classes - 1)
    hard = (1 - loss.label_smoothing) * weights
    total = hard
    smooth = loss.label_smoothing / classes
    if loss.weight is not None:
        class_weight = loss.weight.to(scores.dtype)
        hard = hard * class_weight[place]
        total = hard + weights * (smooth * class_weight.sum()) if smooth else hard
    elif smooth:
        total = weights
    grad = torch.softmax(scores, 1)
    grad *= total.unsqueeze(1)
    grad.scatter_add_(1, place.unsqueeze(1), -hard.unsqueeze(1))
    if smooth:
        spread = (smooth * weights).unsqueeze(1)
        if loss.weight is not None:
            spread = spread * _along_classes(class_weight, scores)
        grad -= spread
    # Their weight is 0, but 0 * NaN is NaN. On a CPU, check first: it saves a pass.
    if grad.device.type != "cpu" or bool(ignored.any()):
        grad.masked_fill_(ignored.unsqueeze(1), 0)
    return grad


def _strips(logits: Tensor, spatial: torch.Size) -> Iterator[_Strip]:
    """Strips of (B, rows, ...) whose scores fit the budget: whole images, or rows of one image."""
    batch, height = spatial[:2]
    row = logits.shape[1] * math.prod(spatial[2:])
    if not batch * height * row:
        return
    budget = _STRIP_ON_CPU if logits.device.type == "cpu" else _STRIP
    images = max(1, budget // (height * row))
    rows = height if images > 1 else max(1, budget // row)
    for image in range(0, batch, images):
        for start in range(0, height, rows):
            yield _Strip(slice(image, image + images), slice(start, min(start + rows, height)))


def _with_rows(logits: Tensor, target: Tensor) -> tuple[Tensor, torch.Size]:
    """Add a spatial dimension of 1 if there is none, as for (B, C) logits."""
    if target.dim() > 1:
        return logits, target.shape
    return logits.unsqueeze(-1), torch.Size([*target.shape, 1])


def _along_classes(weight: Tensor, scores: Tensor) -> Tensor:
    return weight.view(-1, *[1] * (scores.dim() - 2))
