"""Normalization of the tensors that callers pass, with errors that say what to change.

Values of tensors are inspected only on the CPU and outside of compiled code: on a GPU, this would
synchronize with the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lossmaxpool.ops.upsampling import check_spatial

# Represents ``ignore_index=None`` in operators, which take an integer: no label equals it.
NO_LABEL = -(2**63) + 1

# Tolerance of the sum of a pixel's target probabilities, for half precision and interpolation.
_PROBABILITY_SLACK = 2e-2
_SHOWN = 3


def check_tensor(name: str, value: object) -> None:
    """Raise if ``value`` is not a tensor, and say how to get one from it.

    Raises:
        TypeError: a model output object, an array, a picture, a list.
    """
    if isinstance(value, Tensor):
        return
    kind = type(value)
    if hasattr(value, "logits"):
        remedy = "pass its logits, outputs.logits"
    elif isinstance(value, Mapping):
        key = "out" if "out" in value else next(iter(value), "out")
        remedy = f"pass the tensor in it, outputs[{key!r}]"
    elif isinstance(value, (tuple, list)) and any(isinstance(x, Tensor) for x in value):
        remedy = "pass the tensor in it, outputs[0]"
    elif kind.__module__.split(".")[0] == "numpy":
        remedy = "pass torch.from_numpy(array)"
    elif kind.__module__.split(".")[0] == "PIL":
        remedy = "pass torch.from_numpy(numpy.array(image))"
    else:
        remedy = "pass torch.as_tensor(values)"
    raise TypeError(f"{name} must be a tensor, got {kind.__name__}: {remedy}.")


# Pixel losses


def as_losses(losses: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Convert losses to float32 or float64 and the mask to their shape, or raise."""
    check_tensor("losses", losses)
    if not losses.is_floating_point():
        raise TypeError(
            f"losses must be floating, got {losses.dtype}: pass pixel losses, not labels or counts."
        )
    if losses.dim() == 0:
        raise ValueError(
            "losses must have an image dimension, (B, ...), got a scalar: use the pixel loss "
            'with reduction="none".'
        )
    if losses.dtype not in (torch.float32, torch.float64):
        losses = losses.float()
    if valid is not None:
        check_tensor("valid", valid)
        if valid.dtype != torch.bool:
            raise TypeError(
                f"valid must be bool, got {valid.dtype}: pass e.g. target != ignore_index."
            )
        if valid.shape != losses.shape:
            raise ValueError(
                f"valid has shape {tuple(valid.shape)}, losses {tuple(losses.shape)}: "
                "one flag per loss is expected."
            )
        if valid.device != losses.device:
            raise ValueError(
                f"valid is on {valid.device}, losses are on {losses.device}: move one of them."
            )
    return losses, valid


def as_rows(
    losses: Tensor, valid: Tensor | None, *, by_image: bool
) -> tuple[Tensor, Tensor | None]:
    """Reshape to one row per pool: (B, N) by image, else (1, B * N).

    Raises:
        ValueError: (N,) losses by image.
    """
    if by_image and losses.dim() == 1:
        n = losses.numel()
        raise ValueError(
            f"losses have shape ({n},): every loss would be an image of one pixel, and the result "
            'their plain mean. Pass pool="batch" to pool all of them together, or the losses of '
            f"one image as (1, {n}), losses.unsqueeze(0)."
        )
    rows = losses.shape[0] if by_image else 1
    columns = math.prod(losses.shape[1:]) if by_image else losses.numel()
    shape = (rows, columns)
    return losses.reshape(shape), None if valid is None else valid.reshape(shape)


def refuse_unsound(losses: Tensor, valid: Tensor | None) -> None:
    """Raise ValueError if a valid loss is NaN, infinite or negative. Losses (B, N)."""
    sound = (losses >= 0) & (losses < torch.inf)
    if valid is not None:
        sound |= ~valid
    if not bool(sound.all()):
        raise ValueError(
            _describe(losses, ~sound)
            + " Expected finite losses >= 0: check the pixel loss and its input, or exclude "
            "these pixels with valid=."
        )


def refuse_negative(losses: Tensor, valid: Tensor | None) -> None:
    """Raise ValueError if a valid loss is negative; NaN passes and gives a NaN result."""
    negative = losses < 0
    if valid is not None:
        negative &= valid
    if bool(negative.any()):
        raise ValueError(
            _describe(losses, negative)
            + " Loss max-pooling is defined for losses >= 0 (Rota Bulò et al. 2017, Sect. 2): "
            "check the pixel loss, or shift it to be non-negative."
        )


def _describe(losses: Tensor, wrong: Tensor) -> str:
    """Describe wrong losses: their number, their kind and the first positions."""
    places = wrong.nonzero()[:_SHOWN].tolist()
    shown = ", ".join(f"{losses[b, i].item()!r} at image {b}, pixel {i}" for b, i in places)
    kinds = {
        "NaN": losses.isnan(),
        "infinite": losses.isinf() & (losses > 0),
        "negative": losses < 0,
    }
    counts = [f"{int((wrong & kind).sum())} {name}" for name, kind in kinds.items()]
    found = ", ".join(c for c in counts if not c.startswith("0 "))
    return f"{found} among {losses.numel()} losses: {shown}."


# Logits and targets of the cross-entropy


def check_logits(logits: Tensor, weight: Tensor | None, *, by_image: bool) -> None:
    """Raise for logits (B, C, *spatial) that the cross-entropy does not support.

    Raises:
        TypeError: not a floating tensor.
        ValueError: another number of dimensions, fewer than two classes, rows of a flattened batch
            by image, or class weights of another length.
    """
    check_tensor("input", logits)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating, got {logits.dtype}: pass scores, not labels.")
    if not 2 <= logits.dim() <= 5:
        raise ValueError(
            f"logits must be (B, C, *spatial) with up to three spatial dimensions, "
            f"got shape {tuple(logits.shape)}."
        )
    classes = logits.shape[1]
    if classes == 0:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}, which has no class: "
            "expected (B, C, *spatial) with C >= 2."
        )
    if classes == 1:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}: the cross-entropy of a single class is 0 "
            "everywhere. For one foreground label use MaxPoolingBCEWithLogitsLoss; for two classes "
            "let the network return two channels."
        )
    if by_image and logits.dim() == 2:
        n = logits.shape[0]
        raise ValueError(
            f"logits have shape ({n}, {classes}) and no spatial dimension: every row would be an "
            'image of one pixel, and the result the plain cross-entropy. Pass pool="batch" to pool '
            f"all rows together, or logits of shape (B, C, N) and a target of shape (B, N); for "
            f"one image that is (1, {classes}, {n}), logits.t().unsqueeze(0)."
        )
    if weight is not None and weight.shape != (classes,):
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}, but the logits have {classes} "
            "classes: one weight per class is expected."
        )


def holds_probabilities(logits: Tensor, target: Tensor) -> bool:
    """Whether a target holds (B, C, *spatial) probabilities; otherwise it holds class ids."""
    return target.is_floating_point() and (target.dim() == logits.dim() and target.shape[1] != 1)


def class_ids(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Convert a target to class ids (B, *spatial) of an integer dtype, and check its shape.

    Args:
        logits: (B, C, *low).
        target: (B, *spatial) or (B, 1, *spatial) integers, or floats that hold integers.
        ignore_index: the id of ignored pixels.

    Raises:
        ValueError: another shape or device, or, on the CPU, floats that are not integers. On other
            devices these become an invalid label, which makes the loss NaN.
    """
    if target.dim() == logits.dim() and target.shape[1] == 1:
        target = target.squeeze(1)
    if target.dim() != logits.dim() - 1 or target.shape[:1] != logits.shape[:1]:
        hint = ""
        if target.dim() == logits.dim() and target.shape[1] == logits.shape[1]:
            hint = " If it is one-hot, pass target.argmax(1), or target.float() as probabilities."
        raise ValueError(
            f"target has shape {tuple(target.shape)}, logits {tuple(logits.shape)}: expected "
            f"class ids of shape (B, *spatial).{hint}"
        )
    if target.device != logits.device:
        raise ValueError(
            f"target is on {target.device}, logits are on {logits.device}: move one of them."
        )
    check_spatial(logits.shape[2:], target.shape[1:])
    if target.dtype == torch.bool:
        return target.long()
    return _integers(target, logits, ignore_index) if target.is_floating_point() else target


def _integers(target: Tensor, logits: Tensor, ignore_index: int) -> Tensor:
    integral = target == target.round()  # False for NaN
    integral &= target.abs() < 2**31
    if may_look(target) and not bool(integral.all()):
        wrong = target[~integral]
        raise ValueError(
            f"target has dtype {target.dtype} and shape {tuple(target.shape)}, which means class "
            f"ids, but {wrong.numel()} of {target.numel()} are not integers, e.g. "
            f"{wrong[0].item()!r}: expected integer class ids (B, *spatial), or probabilities "
            f"(B, {logits.shape[1]}, *spatial)."
        )
    # Neither a class nor the ignore_index: the pixel's loss becomes NaN.
    no_class = logits.shape[1] + (ignore_index == logits.shape[1])
    return target.where(integral, no_class).long()


def check_probabilities(logits: Tensor, target: Tensor) -> None:
    """Raise for target probabilities (B, C, *spatial) that do not fit the logits.

    Raises:
        ValueError: shapes that do not match, or, on the CPU, invalid probabilities.
    """
    if target.shape[:2] != logits.shape[:2]:
        raise ValueError(
            f"target probabilities have shape {tuple(target.shape)}, logits "
            f"{tuple(logits.shape)}: batch and classes must agree."
        )
    if not may_look(target) or target.numel() == 0:
        return
    total = target.float().sum(1)
    wrong = (target < 0).any(1) | ~((total - 1).abs() < _PROBABILITY_SLACK)
    if bool(wrong.any()):
        raise ValueError(
            f"target holds {int(wrong.sum())} pixels of {wrong.numel()} whose class probabilities "
            f"are negative or do not add up to 1, e.g. to {total[wrong][0].item():.4g}: divide "
            "each pixel's scores by their sum, or pass class ids."
        )


def refuse_unknown_labels(target: Tensor, classes: int, ignore_index: int) -> None:
    """Raise ValueError if the target holds labels that are neither a class nor ignore_index."""
    labels = target.long()
    outside = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
    if bool(outside.any()):
        found = sorted(set(labels[outside].tolist()))
        ignored = "None" if ignore_index == NO_LABEL else ignore_index
        raise ValueError(
            f"target holds {int(outside.sum())} labels outside [0, {classes}): "
            f"{found[:8]}{'...' if len(found) > 8 else ''}. Expected class ids below {classes} "
            f"or ignore_index ({ignored}). Pass ignore_index={found[-1]} if that marks "
            "unlabeled pixels, or check the number of classes."
        )


# Shared helpers for the targets of all losses


def exists(target: Tensor, ignore_index: float) -> Tensor:
    """The mask of valid pixels, (target != ignore_index), bool."""
    # Compare as int64: in a narrow dtype, -100 would wrap around, e.g. to 156 in uint8.
    return (target if target.is_floating_point() else target.long()) != ignore_index


def outside_unit_interval(labels: Tensor) -> Tensor | None:
    """Mask of binary labels outside [0, 1]; None if there are none or values may not be read."""
    if not may_look(labels):
        return None
    outside = ~((labels >= 0) & (labels <= 1))
    return outside if bool(outside.any()) else None


def may_look(tensor: Tensor) -> bool:
    """Whether values of the tensor may be read: on the CPU and outside of compiled code."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def refuse_overwriting(logits: Tensor, target: Tensor) -> None:
    """Raise for logits (B, C, *low) of a form that their gradient cannot overwrite."""
    if logits.shape[2:] != target.shape[1:]:
        raise ValueError(
            f"inplace_backward=True needs logits of the target's size, got {_size(logits, 2)} for "
            f"{_size(target, 1)} pixels: leave it out, since the small logits take little memory."
        )
    if not (logits.is_contiguous() or logits.movedim(1, -1).is_contiguous()):
        raise ValueError(
            f"inplace_backward=True needs contiguous or channels_last logits, got strides "
            f"{logits.stride()} for shape {tuple(logits.shape)}: leave it out."
        )


def refuse_overwriting_leaf(logits: Tensor) -> None:
    """Raise for logits that are, or are a view of, a leaf, whose values the user still needs."""
    owner = logits if logits._base is None else logits._base
    if owner.requires_grad and owner.is_leaf and torch.is_grad_enabled():
        raise ValueError(
            "inplace_backward=True would overwrite a leaf that requires a gradient, such as a "
            "parameter, by it: pass the output of a network, or leave it out."
        )


def _size(tensor: Tensor, first: int) -> str:
    return " x ".join(map(str, tensor.shape[first:]))
