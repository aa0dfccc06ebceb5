"""The three stages of the fused loss: pixel losses, threshold, gradient."""

from __future__ import annotations

from torch import Tensor

from lossmaxpool.ops.backends.planes import merged_planes, own_planes
from lossmaxpool.ops.backends.threshold import optimal_weights
from lossmaxpool.ops.backends.triton.dense_gradient import dense_gradient
from lossmaxpool.ops.backends.triton.dense_losses import dense_losses
from lossmaxpool.ops.backends.triton.pool_weight import norm
from lossmaxpool.ops.backends.triton.smoothing import terms
from lossmaxpool.ops.backends.triton.threshold import find_threshold
from lossmaxpool.ops.backends.triton.upsampled_gradient import upsampled_gradient
from lossmaxpool.ops.backends.triton.upsampled_losses import upsampled_losses
from lossmaxpool.ops.weighting_set import WeightingSet


def pixel_losses(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> Tensor:
    """Cross-entropy of every pixel, upsampling the logits inside where the target is larger.

    Args:
        logits: (B, C, *low) float32, bfloat16 or float16, of any strides.
        target: (B, *spatial) class ids.
        weight: (C,) class weights, or None.
        ignore_index: marks pixels that do not exist: their loss is exactly -1.
        label_smoothing: share of the target spread evenly over the classes.

    Returns:
        (B, *spatial) float32, at least 0 where a pixel exists. NaN where its label is no class.
    """
    target = target.contiguous()
    weight = None if weight is None else weight.float().contiguous()
    loss_terms = terms(label_smoothing, logits.shape[1], weight)
    if logits.shape[2:] != target.shape[1:]:
        return upsampled_losses(
            logits, target, weight, ignore_index, loss_terms, own_planes(logits),
            own_planes(target.unsqueeze(1)),
        )  # fmt: skip
    view = merged_planes(logits)
    if view is None:
        raise ValueError(f"strides {logits.stride()} do not merge into two spatial dimensions.")
    return dense_losses(logits, target, weight, ignore_index, loss_terms, view)


def solve(
    losses: Tensor,
    valid: Tensor | None,
    weighting: WeightingSet,
    marked: bool,
) -> Tensor:
    """The threshold and value of loss max-pooling, for every row.

    Args:
        losses: (R, N) float32. A NaN, an infinity or a negative among those that exist makes the
            row's value NaN.
        valid: (R, N) bool, or None where every pixel exists.
        weighting: the weighting set.
        marked: a negative loss marks a pixel that does not exist.

    Returns:
        (6, R) float64: value, alpha, cap, tie, num_valid, support.
    """
    mask = None if valid is None else valid.contiguous()
    return find_threshold(losses.contiguous(), mask, *weighting, marked)


def weigh(losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet) -> Tensor:
    """(R, N) losses, (R, N) mask and their (6, R) thresholds -> (R, N) weights w*."""
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
) -> Tensor:
    """The gradient of the pooled values with respect to the logits.

    Args:
        grad_value: (R,) float32, the gradient with respect to the values.
        logits: (B, C, *low), as given to :func:`pixel_losses`.
        target: (B, *spatial), likewise.
        weight: (C,), likewise.
        losses: (B, *spatial) what it returned.
        packed: (6, R) float64: value, alpha, cap, tie, num_valid, support of every pool;
            R divides B, and a pool is B / R consecutive images.
        ignore_index: marks pixels that do not exist: their gradient is exactly 0.
        label_smoothing: as given to :func:`pixel_losses`.
        weighting: the weighting set.

    Returns:
        The gradient in the shape, dtype and memory format of the logits.
    """
    target = target.contiguous()
    weight = None if weight is None else weight.float().contiguous()
    loss_terms = terms(label_smoothing, logits.shape[1], weight)
    grad_value = grad_value.float().contiguous()
    shared = (
        grad_value, logits, target, weight, losses, packed, ignore_index, loss_terms,
        norm(weighting.p),
    )  # fmt: skip
    if logits.shape[2:] != target.shape[1:]:
        return upsampled_gradient(*shared, own_planes(target.unsqueeze(1)))
    return dense_gradient(*shared)
