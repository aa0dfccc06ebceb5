"""The stages of the operator in the compiled library: C++ behind a plain C interface.

The functions implement :class:`~lossmaxpool.ops.backends.Kernels` for tensors on the CPU;
``absence``, ``supports`` and ``supports_solve`` return the reason why the library cannot be used.
Notation: B images, C classes, R pools (rows of the solver), N losses of a pool; ``packed`` is the
(6, R) float64 result of ``solve``: value, alpha, cap, tie, num_valid, support.

The library gets plain addresses, and a wrong size would make it read or write out of bounds. So
every tensor is checked again here, whatever the caller has checked: TypeError for an unsupported
dtype; ValueError for a tensor that is not on the CPU, a mismatched shape or an option out of range;
RuntimeError if the library is missing.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import (
    LOGITS,
    TARGETS,
    merged_planes,
    own_planes,
    refuses_inputs,
    refuses_losses,
)
from lossmaxpool.ops.backends.native.library import CrossEntropy, find, threads
from lossmaxpool.ops.weighting_set import WeightingSet

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def absence() -> str | None:
    """The reason why the library is not usable in this process; None if it is."""
    return find().absence


def supports(logits: Tensor, target: Tensor, spatial: torch.Size) -> str | None:
    """The reason why the library does not support these inputs; None if it does.

    Args:
        logits: (B, C, *low) on any device.
        target: (B, *spatial) class ids.
        spatial: the target's size, to which the logits are upsampled.
    """
    return _refuses_device(logits) or refuses_inputs(logits, target, spatial) or absence()


def supports_solve(losses: Tensor) -> str | None:
    """The reason why the library cannot solve (R, N) losses; None if it can."""
    return _refuses_device(losses) or refuses_losses(losses) or absence()


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
    _check_inputs(logits, target, weight, ignore_index, label_smoothing)
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
        grad_value: (R,) the gradient with respect to the values. R divides B; each pool is B / R
            consecutive images.
        logits: as given to :func:`pixel_losses`.
        target: as given to :func:`pixel_losses`.
        weight: as given to :func:`pixel_losses`.
        losses: (B, *spatial) result of :func:`pixel_losses`.
        packed: (6, R) result of :func:`solve`.
        ignore_index: marks ignored pixels: their gradient is exactly 0.
        label_smoothing: as given to :func:`pixel_losses`.
        weighting: the weighting set.

    Returns:
        The gradient in the shape, dtype and memory format of the logits.
    """
    _check_inputs(logits, target, weight, ignore_index, label_smoothing)
    rows = _check_packed(packed)
    _check("grad_value", grad_value, _FLOATS, (rows,))
    _check("losses", losses, (torch.float32,), target.shape)
    if len(logits) % max(rows, 1) or (len(logits) and not rows):
        raise ValueError(
            f"packed holds {rows} pools for {len(logits)} images. Expected a number of pools that "
            "divides the number of images."
        )
    exponent = _exponent(weighting)
    grad = torch.empty_like(logits)
    low = (1, *logits.shape[2:])[-2:]
    upsampled = logits.shape[2:] != target.shape[1:]
    # Contribution of each band of output rows to the low-resolution rows above and below it.
    scratch = torch.zeros(len(logits), low[0], 2, logits.shape[1], low[1]) if upsampled else None
    # Keep references while the library uses their addresses.
    grad_value, packed = grad_value.float().contiguous(), packed.contiguous()
    losses = losses.contiguous()
    _run(
        "gradient",
        *(logits, target, weight, losses, ignore_index, label_smoothing),
        grad=grad,
        grad_value=grad_value.data_ptr(),
        packed=packed.data_ptr(),
        scratch=_address(scratch),
        rows=rows,
        exponent=exponent,
    )
    return grad


def solve(losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool) -> Tensor:
    """The threshold of every row of losses.

    Args:
        losses: (R, N) float32.
        valid: (R, N) bool, or None.
        weighting: the weighting set.
        marked: a negative loss marks an ignored pixel; otherwise it makes the value NaN.

    Returns:
        (6, R) float64: value, alpha, cap, tie, num_valid, support.
    """
    rows, size = _check_rows(losses, valid)
    _exponent(weighting)
    _, fraction, least = weighting
    if not (0 <= fraction <= 1 and least > 0):
        raise ValueError(
            f"m is clip({fraction} n, {least}, n). Expected a fraction in [0, 1] and a smallest m "
            "above 0."
        )
    losses = losses.contiguous()
    valid = None if valid is None else valid.contiguous()
    packed = torch.empty(6, rows, dtype=torch.float64)
    # torch allocates the workspace, so that running out of memory raises torch's error.
    room = torch.empty_like(losses)
    _library().lossmaxpool_solve(
        *(losses.data_ptr(), _address(valid), rows, size, *weighting, marked, threads()),
        *(room.data_ptr(), packed.data_ptr()),
    )
    return packed


def weigh(losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet) -> Tensor:
    """w* of every loss, once the thresholds are known.

    Args:
        losses: (R, N) float32, none negative.
        valid: (R, N) bool, or None.
        packed: (6, R) result of :func:`solve`.
        weighting: the weighting set.

    Returns:
        (R, N) float32, 0 where a pixel is not valid.
    """
    rows, size = _check_rows(losses, valid)
    if _check_packed(packed) != rows:
        raise ValueError(f"packed holds {packed.shape[1]} pools, the losses have {rows} rows.")
    exponent = _exponent(weighting)
    losses, packed = losses.contiguous(), packed.contiguous()
    valid = None if valid is None else valid.contiguous()
    weights = torch.empty_like(losses)
    _library().lossmaxpool_weigh(
        *(losses.data_ptr(), _address(valid), rows, size, packed.data_ptr(), exponent, threads()),
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
    if not target.numel():
        return  # no images, or no pixels: nothing to write
    target = target.contiguous()
    weight = None if weight is None else weight.float().contiguous()
    dense = logits.shape[2:] == target.shape[1:]
    tensors = [logits] if grad is None else [logits, grad]
    view = merged_planes(*tensors) if dense else own_planes(*tensors)
    if view is None:
        raise ValueError(f"strides {logits.stride()} do not merge into two spatial dimensions.")
    height, width = (view.height, view.width) if dense else (1, *target.shape[1:])[-2:]
    call = CrossEntropy(
        logits=logits.data_ptr(),
        target=target.data_ptr(),
        weight=_address(weight),
        losses=losses.data_ptr(),
        gradient=_address(grad),
        logits_format=LOGITS.index(logits.dtype),
        target_format=TARGETS.index(target.dtype),
        batch=logits.shape[0],
        classes=logits.shape[1],
        low_height=view.height,
        low_width=view.width,
        height=height,
        width=width,
        logits_strides=view.strides[0],
        gradient_strides=view.strides[-1],
        ignore_index=ignore_index,
        threads=threads(),
        label_smoothing=label_smoothing,
        **backward,
    )
    kernel = getattr(_library(), f"lossmaxpool_{'dense' if dense else 'upsampled'}_{stage}")
    kernel(ctypes.byref(call))


def _check(name: str, tensor: Tensor, dtypes: tuple[torch.dtype, ...], shape: Any = None) -> None:
    """Raise unless the tensor is on the CPU and has a given dtype and shape."""
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        raise ValueError(
            f"{name} is a {tensor.layout} tensor on {tensor.device}. The native kernels read "
            "strided tensors on the CPU."
        )
    if tensor.dtype not in dtypes:
        names = ", ".join(str(dtype) for dtype in dtypes)
        raise TypeError(f"{name} is {tensor.dtype}. The native kernels read {names} here.")
    if shape is not None and tensor.shape != shape:
        raise ValueError(f"{name} is {tuple(tensor.shape)}. Expected the shape {tuple(shape)}.")


def _check_inputs(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> None:
    _check("logits", logits, LOGITS)
    _check("target", target, TARGETS)
    if logits.dim() < 2 or logits.shape[1] == 0:
        raise ValueError(
            f"logits are {tuple(logits.shape)}. Expected (B, C, *low) with at least one class."
        )
    low, spatial = logits.shape[2:], target.shape[1:]
    if target.dim() != logits.dim() - 1 or len(target) != len(logits):
        raise ValueError(
            f"target is {tuple(target.shape)} for logits {tuple(logits.shape)}. Expected "
            "(B, *spatial) class ids for (B, C, *low) logits, of as many images and dimensions."
        )
    if low != spatial:
        if len(low) > 2:
            raise ValueError(
                f"logits of {tuple(low)} pixels for a target of {tuple(spatial)}: the native "
                "kernels upsample one or two dimensions."
            )
        if 0 in low or any(small > large for small, large in zip(low, spatial, strict=True)):
            raise ValueError(
                f"logits of {tuple(low)} pixels cannot be upsampled to a target of "
                f"{tuple(spatial)}. Expected at least one pixel, and nowhere more than the target."
            )
    if weight is not None:
        _check("weight", weight, (*_FLOATS, *TARGETS), (logits.shape[1],))
    if not -(2**63) <= ignore_index < 2**63:
        raise ValueError(f"ignore_index is {ignore_index}. Expected an integer of 64 bits.")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing is {label_smoothing}. Expected a share in [0, 1].")


def _check_rows(losses: Tensor, valid: Tensor | None) -> tuple[int, int]:
    """R and N of (R, N) losses and their mask."""
    _check("losses", losses, (torch.float32,))
    if losses.dim() != 2:
        raise ValueError(f"losses are {tuple(losses.shape)}. Expected (R, N): a pool a row.")
    if valid is not None:
        _check("valid", valid, (torch.bool,), losses.shape)
    return losses.shape[0], losses.shape[1]


def _check_packed(packed: Tensor) -> int:
    """R of a (6, R) threshold."""
    _check("packed", packed, (torch.float64,))
    if packed.dim() != 2 or packed.shape[0] != 6:
        raise ValueError(f"packed is {tuple(packed.shape)}. Expected the (6, R) of solve.")
    return packed.shape[1]


def _exponent(weighting: WeightingSet) -> float:
    if not weighting.p >= 1:
        raise ValueError(f"p is {weighting.p}. Expected a norm exponent in [1, inf].")
    return weighting.exponent


def _refuses_device(tensor: Tensor) -> str | None:
    if tensor.device.type != "cpu":
        return f"the native kernels are for the CPU, the tensors are on {tensor.device}"
    return None


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _library() -> ctypes.CDLL:
    found = find()
    if found.library is None:
        raise RuntimeError(f"the native kernel cannot run: {found.absence}.")
    return found.library
