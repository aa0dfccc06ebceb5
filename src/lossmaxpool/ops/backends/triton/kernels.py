"""The stages of the operator in Triton: see ``lossmaxpool.ops.backends.Kernels``."""

from __future__ import annotations

from torch import Tensor

from lossmaxpool.ops.backends.triton import weights
from lossmaxpool.ops.backends.triton.cross_entropy import terms
from lossmaxpool.ops.backends.triton.dense import dense_gradient, dense_losses
from lossmaxpool.ops.backends.triton.solver import find_threshold
from lossmaxpool.ops.backends.triton.upsampling import upsampled_gradient, upsampled_losses
from lossmaxpool.ops.weighting_set import WeightingSet


def pixel_losses(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> Tensor:
    """Cross-entropy of every pixel; logits smaller than the target are upsampled on the fly.

    Args:
        logits: (B, C, *low) float32, bfloat16 or float16, of any strides.
        target: (B, *spatial) class ids.
        weight: (C,) class weights, or None.
        ignore_index: marks ignored pixels: their loss is exactly -1.
        label_smoothing: share of the target spread evenly over the classes.

    Returns:
        (B, *spatial) float32, at least 0 at valid pixels, NaN where the label is not a valid class.
    """
    target = target.contiguous()
    loss = terms(label_smoothing, logits.shape[1], weight)
    run = dense_losses if logits.shape[2:] == target.shape[1:] else upsampled_losses
    return run(logits, target, ignore_index, loss)


def solve(losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool) -> Tensor:
    """The threshold and value of loss max-pooling, for every row.

    Args:
        losses: (R, N) float32. A NaN, an infinity or a negative among the valid ones makes the
            row's value NaN.
        valid: (R, N) bool, or None if every pixel is valid.
        weighting: the weighting set.
        marked: a negative loss marks an ignored pixel.

    Returns:
        (6, R) float64: value, alpha, cap, tie, num_valid, support.
    """
    mask = None if valid is None else valid.contiguous()
    return find_threshold(losses.contiguous(), mask, weighting, marked)


def weigh(losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet) -> Tensor:
    """The weights w* of losses, once their thresholds are known.

    Args:
        losses: (R, N) float32, as given to :func:`solve`.
        valid: (R, N) bool, likewise.
        packed: (6, R) result of :func:`solve`.
        weighting: the weighting set.

    Returns:
        (R, N) float32, 0 where a pixel is not valid. NaN in rows whose value is NaN.
    """
    mask = None if valid is None else valid.contiguous()
    return weights.weigh(losses.contiguous(), mask, packed.contiguous(), weights.norm(weighting))


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
        losses: (B, *spatial) result of :func:`pixel_losses`.
        packed: (6, R) float64: value, alpha, cap, tie, num_valid, support of every pool;
            R divides B, and each pool is B / R consecutive images.
        ignore_index: marks ignored pixels: their gradient is exactly 0.
        label_smoothing: as given to :func:`pixel_losses`.
        weighting: the weighting set.

    Returns:
        The gradient in the shape, dtype and memory format of the logits.
    """
    target = target.contiguous()
    loss = terms(label_smoothing, logits.shape[1], weight)
    run = dense_gradient if logits.shape[2:] == target.shape[1:] else upsampled_gradient
    return run(
        grad_value.float().contiguous(), logits, target, losses, packed, ignore_index, loss,
        weights.norm(weighting),
    )  # fmt: skip
