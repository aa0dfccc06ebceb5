"""The stages of the operator in Triton, as :class:`lossmaxpool.ops.backends.Kernels` says."""

from __future__ import annotations

from torch import Tensor

from lossmaxpool.ops.backends.triton import weights
from lossmaxpool.ops.backends.triton.cross_entropy import terms
from lossmaxpool.ops.backends.triton.dense import dense_gradient, dense_losses
from lossmaxpool.ops.backends.triton.solver import find_threshold
from lossmaxpool.ops.backends.triton.upsampling import upsampled_losses
from lossmaxpool.ops.backends.triton.upsampling_gradient import upsampled_gradient
from lossmaxpool.ops.weighting_set import WeightingSet


def pixel_losses(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> Tensor:
    target = target.contiguous()
    loss = terms(label_smoothing, logits.shape[1], weight)
    run = dense_losses if logits.shape[2:] == target.shape[1:] else upsampled_losses
    return run(logits, target, ignore_index, loss)


def solve(losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool) -> Tensor:
    mask = None if valid is None else valid.contiguous()
    return find_threshold(losses.contiguous(), mask, weighting, marked)


def weigh(losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet) -> Tensor:
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
    target = target.contiguous()
    loss = terms(label_smoothing, logits.shape[1], weight)
    run = dense_gradient if logits.shape[2:] == target.shape[1:] else upsampled_gradient
    return run(
        grad_value.float().contiguous(), logits, target, losses, packed, ignore_index, loss,
        weights.norm(weighting),
    )  # fmt: skip
