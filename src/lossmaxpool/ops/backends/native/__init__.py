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
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import (
    LOGITS,
    TARGETS,
    Passes,
    by_form,
    merged_planes,
    own_planes,
    refuses_inputs,
    refuses_losses,
)
from lossmaxpool.ops.backends.native.library import CrossEntropy, find, threads
from lossmaxpool.ops.reduction import reduce_pools, scale_rows
from lossmaxpool.ops.weighting_set import WeightingSet

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_CPU = torch.device("cpu")  # whatever the default device is
_REDUCTIONS = ("none", "sum", "mean")  # as in the enumeration of cpp/interface.h


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
    prepared = _prepared(logits, target, weight, ignore_index, label_smoothing)
    losses = torch.empty(target.shape, dtype=torch.float32, device=_CPU)
    _run("losses", prepared, logits, target, weight, losses=losses)
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
    out: Tensor | None = None,
) -> Tensor:
    prepared = _prepared(logits, target, weight, ignore_index, label_smoothing)
    rows = _check_packed(packed)
    _check("grad_value", grad_value, _FLOATS, (rows,))
    _check("losses", losses, (torch.float32,), target.shape)
    if len(logits) % max(rows, 1) or (len(logits) and not rows):
        raise ValueError(
            f"packed holds {rows} pools for {len(logits)} images. Expected a number of pools that "
            "divides the number of images."
        )
    gradient = prepared.gradient(logits, out)
    _run(
        "gradient",
        prepared,
        logits,
        target,
        weight,
        losses=losses.contiguous(),
        gradient=gradient,
        scratch=prepared.scratch(),
        grad_value=grad_value.float().resolve_neg().contiguous(),
        packed=packed.contiguous(),
        rows=rows,
        exponent=_exponent(weighting),
    )
    return gradient


def solve(losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool) -> Tensor:
    rows, size = _check_rows(losses, valid)
    _check_weighting(weighting)
    losses = losses.contiguous()
    valid = None if valid is None else valid.contiguous()
    packed = torch.empty(6, rows, dtype=torch.float64, device=_CPU)
    # torch allocates the workspace, so that running out of memory raises torch's error.
    room = torch.empty_like(losses)
    _library().lossmaxpool_solve(
        *(losses.data_ptr(), _address(valid), rows, size, *weighting, marked, threads()),
        *(room.data_ptr(), packed.data_ptr()),
    )
    return packed


def weigh(losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet) -> Tensor:
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


def prepare(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    weighting: WeightingSet,
    pools: int,
    reduction: str,
) -> _NativeLoss | None:
    prepared = _prepared(logits, target, weight, ignore_index, label_smoothing)
    _check_weighting(weighting)
    if prepared.nothing or not pools or len(logits) % pools:
        return None
    call = CrossEntropy.from_buffer_copy(prepared.call)
    call.rows, call.reduction = pools, _REDUCTIONS.index(reduction)
    call.p, call.fraction, call.least = weighting
    call.exponent = weighting.exponent
    passes = Passes(logits, target, weight, pools=pools, reduction=reduction, spatial=target.shape)
    return _NativeLoss(prepared._replace(call=call), passes, target, weight)


def prepare_pool(
    losses: Tensor, valid: Tensor | None, weighting: WeightingSet, pools: int, reduction: str
) -> _NativePool | None:
    _check("losses", losses, (torch.float32,))
    if valid is not None:
        _check("valid", valid, (torch.bool,), losses.shape)
    _check_weighting(weighting)
    whole = losses.is_contiguous() and (valid is None or valid.is_contiguous())
    if not whole or not losses.numel() or not pools or losses.numel() % pools:
        return None
    return _NativePool(losses, valid, weighting, pools, reduction)


class _NativePool:
    """Contiguous losses, checked once: see ``ops.backends.PreparedPool``."""

    def __init__(
        self,
        losses: Tensor,
        valid: Tensor | None,
        weighting: WeightingSet,
        pools: int,
        reduction: str,
    ) -> None:
        self._passes = Passes(losses, valid, pools=pools, reduction=reduction)
        self._rows, self._weighting = (pools, losses.numel() // pools), weighting
        self._exponent, self._reduction = weighting.exponent, reduction
        self._solve, self._weigh = _library().lossmaxpool_solve, _library().lossmaxpool_weigh

    def forward(self, losses: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        packed, room = self._passes.packed(), torch.empty_like(losses)
        self._solve(
            *(losses.data_ptr(), _address(valid), *self._rows, *self._weighting, False, threads()),
            *(room.data_ptr(), packed.data_ptr()),
        )
        return reduce_pools(packed, torch.float32, self._reduction)[0], packed

    def backward(
        self, grad: Tensor, losses: Tensor, valid: Tensor | None, packed: Tensor
    ) -> Tensor | None:
        outer = self._passes.upstream(grad, losses, valid, packed)
        if outer is None:
            return None
        weights = torch.empty_like(losses)
        self._weigh(
            *(losses.data_ptr(), _address(valid), *self._rows, packed.data_ptr()),
            *(self._exponent, threads(), weights.data_ptr()),
        )
        scale_rows(weights.view(self._rows), outer, packed, self._reduction)
        return weights


class _NativeLoss:
    """One call of the library forward, and one backward: see ``ops.backends.Prepared``."""

    def __init__(
        self,
        prepared: _Prepared,
        passes: Passes,
        target: Tensor,
        weight: Tensor | None,
    ) -> None:
        self._prepared, self._passes = prepared, passes
        self._ready = target.is_contiguous() and weight is None
        self._forward = _library().lossmaxpool_cross_entropy
        self._backward = getattr(_library(), f"lossmaxpool_{prepared.stage}_gradient")

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        made = self._passes
        losses, packed, value = made.losses(), made.packed(), made.value()
        room = torch.empty_like(losses)
        call = self._call(logits, target, weight, losses, packed)
        call.room, call.value = room.data_ptr(), value.data_ptr()
        self._forward(ctypes.byref(call))
        return value, losses, packed

    def backward(
        self,
        grad: Tensor,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        losses: Tensor,
        packed: Tensor,
        out: Tensor | None = None,
    ) -> Tensor | None:
        upstream = self._passes.upstream(grad, logits, target, weight, losses, packed)
        if upstream is None:
            return None
        gradient, scratch = self._prepared.gradient(logits, out), self._prepared.scratch()
        call = self._call(logits, target, weight, losses, packed)
        call.grad_value, call.gradient = upstream.data_ptr(), gradient.data_ptr()
        call.scratch = _address(scratch)
        self._backward(ctypes.byref(call))
        return gradient

    def _call(
        self, logits: Tensor, target: Tensor, weight: Tensor | None, losses: Tensor, packed: Tensor
    ) -> CrossEntropy:
        """The call with the addresses of both directions; it keeps the tensors it has made."""
        call = CrossEntropy.from_buffer_copy(self._prepared.call)
        if not self._ready:
            target = target.contiguous()
            weight = None if weight is None else weight.float().contiguous()
            call.weight, call.kept = _address(weight), (target, weight)
        call.logits, call.target = logits.data_ptr(), target.data_ptr()
        call.losses, call.packed = losses.data_ptr(), packed.data_ptr()
        call.threads = threads()
        return call


class _Prepared(NamedTuple):
    """A call whose tensors fit together; the library may read them at their addresses."""

    stage: str  # "dense" or "upsampled"
    call: CrossEntropy  # everything but addresses, rows, exponent and threads: a template
    strides: tuple[int, ...]  # of the gradient
    nothing: bool  # no images, or no pixels: nothing to write

    def gradient(self, logits: Tensor, out: Tensor | None) -> Tensor:
        """Where to write the gradient: new memory, unless it is given."""
        if out is None:
            return torch.empty_strided(logits.shape, self.strides, dtype=logits.dtype, device=_CPU)
        _check("out", out, (logits.dtype,), logits.shape)
        if out.stride() != self.strides:
            raise ValueError(f"out has strides {out.stride()}. Expected {self.strides}.")
        return out

    def scratch(self) -> Tensor | None:
        """Upsampled gradient: what each band of output rows adds to the low rows around it."""
        if self.stage == "dense":
            return None
        call = self.call
        shape = (call.batch, call.low_height, 2, call.classes, call.low_width)
        return torch.zeros(shape, dtype=torch.float32, device=_CPU)


@by_form(tensors=3)
def _prepared(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> _Prepared:
    """Check the tensors and describe them to the library, once for all tensors of this form."""
    _check_inputs(logits, target, weight, ignore_index, label_smoothing)
    dense = logits.shape[2:] == target.shape[1:]
    gradient = torch.empty_like(logits, device="meta")
    view = (merged_planes if dense else own_planes)(logits, gradient)
    if view is None:
        raise ValueError(f"strides {logits.stride()} do not merge into two spatial dimensions.")
    height, width = (view.height, view.width) if dense else (1, *target.shape[1:])[-2:]
    call = CrossEntropy(
        logits_format=LOGITS.index(logits.dtype),
        target_format=TARGETS.index(target.dtype),
        batch=logits.shape[0],
        classes=logits.shape[1],
        low_height=view.height,
        low_width=view.width,
        height=height,
        width=width,
        logits_strides=view.strides[0],
        gradient_strides=view.strides[1],
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
    return _Prepared("dense" if dense else "upsampled", call, gradient.stride(), not target.numel())


def _run(
    pass_: str,
    prepared: _Prepared,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    rows: int = 0,
    exponent: float = 0.0,
    **others: Tensor | None,
) -> None:
    """Call the library with a prepared call and contiguous tensors for its other addresses."""
    if prepared.nothing:
        return
    # Keep references while the library uses their addresses.
    target = target.contiguous()
    weight = None if weight is None else weight.float().contiguous()
    call = CrossEntropy.from_buffer_copy(prepared.call)
    call.logits, call.target = logits.data_ptr(), target.data_ptr()
    call.weight = _address(weight)
    for name, tensor in others.items():
        setattr(call, name, _address(tensor))
    call.rows, call.exponent, call.threads = rows, exponent, threads()
    getattr(_library(), f"lossmaxpool_{prepared.stage}_{pass_}")(ctypes.byref(call))


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


def _check_weighting(weighting: WeightingSet) -> None:
    _exponent(weighting)
    _, fraction, least = weighting
    if not (0 <= fraction <= 1 and least > 0):
        raise ValueError(
            f"m is clip({fraction} n, {least}, n). Expected a fraction in [0, 1] and a smallest m "
            "above 0."
        )


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
