"""The three stages of the pooled cross-entropy, by the compiled library."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import LOGITS, TARGETS
from lossmaxpool.ops.backends.native.library import Problem, Strides, find
from lossmaxpool.ops.backends.planes import merged_planes, own_planes
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
        logits: (B, C, *low) float32, bfloat16 or float16 on the CPU, of any strides.
        target: (B, *spatial) class ids.
        weight: (C,) class weights, or None.
        ignore_index: marks pixels that do not exist: their loss is exactly -1.
        label_smoothing: share of the target spread evenly over the classes.

    Returns:
        (B, *spatial) float32, at least 0 where a pixel exists. NaN where its label is no class.
    """
    losses = torch.empty(target.shape, dtype=torch.float32)
    _run("losses", logits, target, weight, losses, ignore_index, label_smoothing)
    return losses


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
        grad_value: (R,) the gradient with respect to the values.
        logits: as given to :func:`pixel_losses`.
        target: as given to :func:`pixel_losses`.
        weight: as given to :func:`pixel_losses`.
        losses: (B, *spatial) what it returned.
        packed: (6, R) float64: value, alpha, cap, tie, num_valid, support of every pool;
            R divides B, and a pool is B / R consecutive images.
        ignore_index: marks pixels that do not exist: their gradient is exactly 0.
        label_smoothing: as given to :func:`pixel_losses`.
        weighting: the weighting set.

    Returns:
        The gradient in the shape, dtype and memory format of the logits.
    """
    grad = torch.empty_like(logits)
    low = (1, *logits.shape[2:])[-2:]
    upsampled = logits.shape[2:] != target.shape[1:]
    # What every band of output rows gives to the low-resolution row above and to the one below it.
    scratch = torch.zeros(len(logits), low[0], 2, logits.shape[1], low[1]) if upsampled else None
    # Held here while the library has their addresses.
    grad_value, packed = grad_value.float().contiguous(), packed.contiguous()
    _run(
        "gradient",
        logits,
        target,
        weight,
        losses.contiguous(),
        ignore_index,
        label_smoothing,
        grad=grad,
        grad_value=grad_value.data_ptr(),
        packed=packed.data_ptr(),
        scratch=None if scratch is None else scratch.data_ptr(),
        rows=packed.shape[1],
        exponent=weighting.exponent,
    )
    return grad


def solve(losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool) -> Tensor:
    """The threshold of every row of losses.

    Args:
        losses: (R, N) float32 on the CPU.
        valid: (R, N) bool, or None.
        weighting: the weighting set.
        marked: a negative loss marks a pixel that does not exist; it makes the value NaN otherwise.

    Returns:
        (6, R) float64: value, alpha, cap, tie, num_valid, support.
    """
    rows, size = losses.shape
    losses = losses.contiguous()
    valid = None if valid is None else valid.contiguous()
    packed = torch.empty(6, rows, dtype=torch.float64)
    # What the library works in is torch's to allocate, so that too little memory is torch's error.
    room = torch.empty_like(losses)
    _library().lossmaxpool_solve(
        losses.data_ptr(),
        None if valid is None else valid.data_ptr(),
        rows,
        size,
        *weighting,
        marked,
        torch.get_num_threads(),
        room.data_ptr(),
        packed.data_ptr(),
    )
    return packed


def weigh(losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet) -> Tensor:
    """w* of every loss, once the thresholds are known.

    Args:
        losses: (R, N) float32 on the CPU, none negative.
        valid: (R, N) bool, or None.
        packed: (6, R) what :func:`solve` returned.
        weighting: the weighting set.

    Returns:
        (R, N) float32, 0 where a pixel is not valid.
    """
    rows, size = losses.shape
    losses, packed = losses.contiguous(), packed.contiguous()
    valid = None if valid is None else valid.contiguous()
    weights = torch.empty_like(losses)
    _library().lossmaxpool_weigh(
        losses.data_ptr(),
        None if valid is None else valid.data_ptr(),
        rows,
        size,
        packed.data_ptr(),
        weighting.exponent,
        torch.get_num_threads(),
        weights.data_ptr(),
    )
    return weights


def _run(
    stage: str,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    losses: Tensor,
    ignore_index: int,
    label_smoothing: float,
    *,
    grad: Tensor | None = None,
    **backward: Any,
) -> None:
    if not target.numel() or not logits.numel():
        return
    target = target.contiguous()
    weight = None if weight is None else weight.float().contiguous()
    dense = logits.shape[2:] == target.shape[1:]
    tensors = [logits] if grad is None else [logits, grad]
    view = merged_planes(*tensors) if dense else own_planes(*tensors)
    if view is None:
        raise ValueError(f"strides {logits.stride()} do not merge into two spatial dimensions.")
    height, width = (view.height, view.width) if dense else (1, *target.shape[1:])[-2:]
    problem = Problem(
        logits=logits.data_ptr(),
        target=target.data_ptr(),
        weight=None if weight is None else weight.data_ptr(),
        losses=losses.data_ptr(),
        gradient=None if grad is None else grad.data_ptr(),
        logits_format=LOGITS.index(logits.dtype),
        target_format=TARGETS.index(target.dtype),
        batch=logits.shape[0],
        classes=logits.shape[1],
        low_height=view.height,
        low_width=view.width,
        height=height,
        width=width,
        logits_strides=Strides(*view.strides[0]),
        gradient_strides=Strides(*view.strides[-1]),
        ignore_index=ignore_index,
        threads=torch.get_num_threads(),
        label_smoothing=label_smoothing,
        **backward,
    )
    kernel = getattr(_library(), f"lossmaxpool_{'dense' if dense else 'upsampled'}_{stage}")
    kernel(ctypes.byref(problem))


def _library() -> ctypes.CDLL:
    found = find()
    if found.library is None:
        raise RuntimeError(f"the native kernel cannot run: {found.absence}.")
    return found.library
