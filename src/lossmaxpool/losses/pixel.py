"""Pixel losses by torch's own operations, and what every loss asks of its target."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Up to three spatial dimensions: tokens, images, volumes.
_LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}

# How far the sum of a pixel's target probabilities may be from 1: half precision, interpolation.
_PROBABILITY_SLACK = 2e-2


class PixelLosses(NamedTuple):
    """One loss per pixel, and which of them count."""

    losses: Tensor  # (B, *spatial)
    valid: Tensor | None  # (B, *spatial) bool; None: all of them


def probability_cross_entropy(
    logits: Tensor, target: Tensor, *, weight: Tensor | None, label_smoothing: float
) -> Tensor:
    """Cross-entropy of every pixel with target probabilities, by torch's own operations.

    Args:
        logits: (B, C, *low) unnormalised scores, any floating dtype.
        target: (B, C, *spatial) probabilities.
        weight: (C,) class weights, or None.
        label_smoothing: share of the target spread evenly over the classes, in [0, 1].

    Returns:
        (B, *spatial) losses.

    Raises:
        ValueError: shapes that do not match, or, on the CPU, probabilities that are none.
    """
    if target.shape[:2] != logits.shape[:2]:
        raise ValueError(
            f"target probabilities have shape {tuple(target.shape)}, logits "
            f"{tuple(logits.shape)}: batch and classes must agree."
        )
    scores = upsample_to(_at_least_float32(logits), target.shape[2:])
    _refuse_no_distribution(target)
    return F.cross_entropy(
        scores,
        target.to(scores.dtype),
        weight=None if weight is None else weight.to(scores.dtype),
        reduction="none",
        label_smoothing=label_smoothing,
    )


def pixel_binary_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> PixelLosses:
    """Binary cross-entropy of every entry of the logits: one label, or several per pixel.

    Args:
        logits: (B, *spatial) or (B, C, *spatial) scores, any floating dtype.
        target: 0/1 of any dtype, or probabilities, in the shape of the logits; their spatial size
            may be larger. (B, *spatial) also meets logits (B, 1, *spatial).
        weight: broadcast against (B, C, *spatial), or None.
        pos_weight: (C,) weight of the positives of each label, or None.
        ignore_index: the value that marks entries which do not exist.
        label_smoothing: moves targets towards 1/2 by this share, in [0, 1].

    Raises:
        TypeError: logits that are not floating.
        ValueError: shapes that do not match, or, on the CPU, targets outside [0, 1].
    """
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating, got {logits.dtype}.")
    if logits.dim() == target.dim() + 1 and logits.shape[1] == 1:
        target = target.unsqueeze(1)
    if logits.dim() != target.dim() or logits.shape[:1] != target.shape[:1]:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, logits {tuple(logits.shape)}: one 0/1 "
            "label per score is expected, (B, *spatial) or (B, C, *spatial)."
        )
    scores = _at_least_float32(logits)
    if scores.shape != target.shape:
        if scores.dim() < 3 or scores.shape[1] != target.shape[1]:
            raise ValueError(
                f"target has shape {tuple(target.shape)}, logits {tuple(logits.shape)}: only "
                "spatial dimensions behind (B, C) may differ, to be upsampled."
            )
        scores = upsample_to(scores, target.shape[2:])
    valid = exists(target, ignore_index)
    labels = target.to(scores.dtype).masked_fill(~valid, 0)
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        outside = (labels < 0) | (labels > 1)
        if bool(outside.any()):
            raise ValueError(
                f"{int(outside.sum())} of {labels.numel()} binary targets are outside [0, 1], "
                f"e.g. {labels[outside][0].item()!r}: expected 0, 1, a probability, or the "
                f"ignore_index ({ignore_index}). Masks saved as 0/255 need a division by 255."
            )
    if label_smoothing:
        labels = labels * (1 - label_smoothing) + label_smoothing / 2
    if pos_weight is not None:
        pos_weight = _per_label(pos_weight.to(scores.dtype), scores)
    losses = F.binary_cross_entropy_with_logits(
        scores,
        labels,
        weight=None if weight is None else weight.to(scores.dtype),
        pos_weight=pos_weight,
        reduction="none",
    )
    return PixelLosses(losses, valid)


def exists(target: Tensor, ignore_index: int) -> Tensor:
    """Where the target is a label and not ``ignore_index``, bool in its shape."""
    # Compared in int64: in the target's own narrow dtype -100 would wrap around to uint8's 156.
    return (target if target.is_floating_point() else target.long()) != ignore_index


def upsample_to(logits: Tensor, spatial: torch.Size) -> Tensor:
    """(B, C, *low) -> (B, C, *spatial), linearly, ``align_corners=False``; as is where equal."""
    low = logits.shape[2:]
    if low == spatial:
        return logits
    check_spatial(low, spatial)
    return F.interpolate(logits, size=spatial, mode=_LINEAR_MODES[len(low)], align_corners=False)


def check_spatial(low: torch.Size, spatial: torch.Size) -> None:
    """Refuse a target that logits of spatial size ``low`` cannot be upsampled to."""
    if len(low) != len(spatial) or any(a > b for a, b in zip(low, spatial, strict=True)):
        raise ValueError(
            f"logits have spatial size {tuple(low)}, target {tuple(spatial)}: they must be equal, "
            "or the logits smaller, to be upsampled bilinearly."
        )


def _at_least_float32(logits: Tensor) -> Tensor:
    """Half precision loses the loss of confident pixels, and their order with it."""
    return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()


def _refuse_no_distribution(target: Tensor) -> None:
    """Name target probabilities that are none, where looking does not make the host wait."""
    if target.device.type != "cpu" or torch.compiler.is_compiling() or target.numel() == 0:
        return
    total = target.float().sum(1)
    wrong = (target < 0).any(1) | ~((total - 1).abs() < _PROBABILITY_SLACK)
    if bool(wrong.any()):
        raise ValueError(
            f"target holds {int(wrong.sum())} pixels of {wrong.numel()} whose class probabilities "
            f"are negative or do not add up to 1, e.g. to {total[wrong][0].item():.4g}: divide "
            "each pixel's scores by their sum, or pass class ids."
        )


def _per_label(weight: Tensor, scores: Tensor) -> Tensor:
    """(C,) weights aligned with dimension 1 of (B, C, *spatial)."""
    if weight.dim() == 0 or weight.numel() == 1:
        return weight.reshape(())
    if weight.dim() != 1 or scores.dim() < 2 or weight.shape[0] != scores.shape[1]:
        raise ValueError(
            f"pos_weight has shape {tuple(weight.shape)}, logits {tuple(scores.shape)}: one "
            "weight per label (dimension 1 of the logits) is expected."
        )
    return weight.view(-1, *[1] * (scores.dim() - 2))
