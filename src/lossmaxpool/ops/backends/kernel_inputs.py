"""Input checks and plane layouts that the compiled and the Triton kernels share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

# Same order as the enumerations in native/cpp/interface.h.
LOGITS = (torch.float32, torch.bfloat16, torch.float16)
TARGETS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


# Prepared calls kept per function. Training at many sizes needs some dozens.
_KEPT = 512

_CONTIGUOUS = torch.contiguous_format

Form = tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device] | None

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def forms(tensors: tuple[Tensor | None, ...]) -> tuple[Form, ...]:
    """All that is known of strided tensors without their values and addresses."""
    return tuple([None if x is None else (x.shape, x.stride(), x.dtype, x.device) for x in tensors])


class Passes:
    """The tensors that the forward pass of a prepared loss saves for its backward pass.

    Args:
        given: what both read, the logits or losses first.
        pools: R.
        reduction: "none", "sum" or "mean" over the pools.
        spatial: the shape of the map of losses that the forward pass makes; None: it makes none.
    """

    def __init__(
        self, *given: Tensor | None, pools: int, reduction: str, spatial: torch.Size | None = None
    ) -> None:
        device = next(x.device for x in given if x is not None)
        number = torch.empty((), dtype=torch.float32, device=device)
        # New memory is made quickest like another tensor, which here takes that of one number.
        self._value = number.expand((pools,) if reduction == "none" else ())
        self._losses = number.expand(spatial or ())
        self._packed = torch.empty((), dtype=torch.float64, device=device).expand(6, pools)
        losses = () if spatial is None else (self.losses(),)
        self._forms = forms((*given, *losses, self.packed()))

    def value(self) -> Tensor:
        """A new value, to be written."""
        return torch.empty_like(self._value, memory_format=_CONTIGUOUS)

    def losses(self) -> Tensor:
        """A new (B, *spatial) map of losses, to be written."""
        return torch.empty_like(self._losses, memory_format=_CONTIGUOUS)

    def packed(self) -> Tensor:
        """New (6, R) thresholds, to be written."""
        return torch.empty_like(self._packed, memory_format=_CONTIGUOUS)

    def upstream(self, grad: Tensor, *saved: Tensor | None) -> Tensor | None:
        """The gradient of the value as the kernels read it; None for tensors of another form.

        A leaf may have got other data since, and hooks may return other tensors than were saved:
        those that were given, the losses if the forward pass made them, and the thresholds.
        """
        if forms(saved) != self._forms or grad.shape != self._value.shape:
            return None
        if grad.dtype is torch.float32 and grad.is_contiguous() and not grad.is_neg():
            return grad
        return grad.float().resolve_neg().contiguous()


def by_form(
    tensors: int,
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Cache a function that reads no values of its first ``tensors`` arguments.

    Those are tensors or None and count by their :func:`forms`; all other arguments are compared.
    Arguments are positional. Errors are not cached.
    """

    def decorate(
        function: Callable[_Parameters, _Result],
    ) -> Callable[_Parameters, _Result]:
        known: dict[Any, _Result] = {}

        @wraps(function)
        def cached(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            given: tuple[Any, ...] = args
            try:
                key = forms(given[:tensors]), given[tensors:]
                return known[key]
            except KeyError:
                pass
            except (RuntimeError, TypeError):  # a sparse tensor has no strides, a list no hash
                return function(*args, **kwargs)
            result = function(*args, **kwargs)
            if len(known) >= _KEPT:
                known.clear()
            known[key] = result
            return result

        return cached

    return decorate


def refuses_inputs(logits: Tensor, target: Tensor, spatial: torch.Size) -> str | None:
    """The reason why no kernel supports these inputs on any device; None if they are supported.

    Args:
        logits: (B, C, *low).
        target: (B, *spatial) class ids.
        spatial: the target's size, to which the logits are upsampled.
    """
    low = logits.shape[2:]
    if target.device != logits.device:
        return f"the target is on {target.device}, the logits on {logits.device}"
    if logits.dtype not in LOGITS:
        return f"the kernels compute in float32, the logits are {logits.dtype}"
    if target.dtype not in TARGETS:
        return f"the kernels read class ids of 8 to 64 bits, the target is {target.dtype}"
    if logits.shape[1] == 0:
        return "the logits have no classes"
    if low != spatial:
        if len(low) > 2:
            return f"the kernels upsample one or two dimensions, the logits have {len(low)}"
    elif logits.is_contiguous():
        return None
    # The gradient is a separate tensor with its own strides.
    elif merged_planes(logits, torch.empty_like(logits, device="meta")) is None:
        return f"strides {logits.stride()} do not merge into two spatial dimensions"
    return None


def refuses_losses(losses: Tensor) -> str | None:
    """The reason why no kernel can solve (R, N) losses on any device; None if one can."""
    if losses.dtype != torch.float32:
        return f"the kernels solve float32 losses, these are {losses.dtype}"
    return None


# (B, C, *spatial) tensors of any strides viewed as two-dimensional planes, without a copy.


class Strides(NamedTuple):
    """The strides of one tensor, in elements."""

    image: int
    channel: int
    row: int
    column: int


class Planes(NamedTuple):
    """Tensors of one shape (B, C, *spatial), viewed as B x C planes of height x width."""

    height: int
    width: int
    strides: tuple[Strides, ...]  # one per tensor

    @property
    def flat(self) -> bool:
        """Whether there is one row: a pixel's offset is its index times the column stride."""
        return self.height == 1


def merged_planes(*tensors: Tensor) -> Planes | None:
    """Merge neighboring spatial dimensions as far as the strides of all tensors allow.

    Returns:
        The planes, or None if more than two dimensions remain.
    """
    shape = tensors[0].shape
    if all(tensor.is_contiguous() for tensor in tensors):
        size = math.prod(shape[2:])
        return Planes(1, size, (Strides(shape[1] * size, size, 1, 1),) * len(tensors))
    left: list[tuple[int, list[int]]] = []  # size, the stride in every tensor
    for dim, size in enumerate(shape[2:], start=2):
        steps = [tensor.stride(dim) for tensor in tensors]
        if size == 1:
            continue  # a dimension of size 1 fits any stride
        if left and left[-1][1] == [size * step for step in steps]:
            left[-1] = (left[-1][0] * size, steps)
        else:
            left.append((size, steps))
    return _planes(left, tensors) if len(left) <= 2 else None


def own_planes(*tensors: Tensor) -> Planes:
    """Planes of (B, C, w) or (B, C, h, w) tensors without merging dimensions, for upsampling."""
    dims = range(2, tensors[0].dim())
    left = [(tensors[0].shape[dim], [t.stride(dim) for t in tensors]) for dim in dims]
    return _planes(left, tensors)


def _planes(left: list[tuple[int, list[int]]], tensors: tuple[Tensor, ...]) -> Planes:
    (height, rows), (width, columns) = [(1, [1] * len(tensors))] * (2 - len(left)) + left
    strides = (
        Strides(t.stride(0), t.stride(1), row, column)
        for t, row, column in zip(tensors, rows, columns, strict=True)
    )
    return Planes(height, width, tuple(strides))
