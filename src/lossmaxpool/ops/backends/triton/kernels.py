"""The stages of the operator in Triton, as :class:`lossmaxpool.ops.backends.Kernels` says."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from triton.runtime import driver

from lossmaxpool.ops.backends import as_pools
from lossmaxpool.ops.backends.kernel_inputs import Passes
from lossmaxpool.ops.backends.triton import weights
from lossmaxpool.ops.backends.triton.cross_entropy import terms
from lossmaxpool.ops.backends.triton.dense import (
    dense_gradient,
    dense_losses,
    gradient_launch,
    losses_launch,
)
from lossmaxpool.ops.backends.triton.launch import ALIGNMENT, observed, on_device_of
from lossmaxpool.ops.backends.triton.solver import find_threshold, reduction_launch, solver
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


def prepare(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    weighting: WeightingSet,
    pools: int,
    reduction: str,
) -> _Loss | None:
    if not target.numel() or not logits.numel() or not pools:
        return None
    numbers = (ignore_index, label_smoothing, weighting, pools, reduction)
    return _Loss(logits, target, weight, *numbers)


class _Loss:
    """All launches of a loss: see ``ops.backends.Prepared``.

    The first pass compiles the kernels. For dense logits without class weights, all later ones
    launch them by addresses, with one workspace.
    """

    def __init__(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        ignore_index: int,
        label_smoothing: float,
        weighting: WeightingSet,
        pools: int,
        reduction: str,
    ) -> None:
        self._numbers, self._weighting = (ignore_index, label_smoothing), weighting
        self._pools, self._reduction, self._device = pools, reduction, logits.device
        self._passes = Passes(logits, target, weight, pools, reduction)
        _, packed = self._passes.maps()
        self._dense = logits.shape[2:] == target.shape[1:]
        self._plain = self._dense and weight is None and target.is_contiguous()
        self._reduce = reduction_launch(packed, reduction, False)
        self._spread = reduction_launch(packed, reduction, True)
        self._forward: Callable[..., None] | None = None
        self._backward: Callable[..., None] | None = None
        self._workspace = 0

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        value, run = self._passes.value(), self._forward
        if run is None or not self._binds(logits.data_ptr() | target.data_ptr()):
            losses = pixel_losses(logits, target, weight, *self._numbers)
            packed = solve(as_pools(losses, self._pools), None, self._weighting, True)
            with on_device_of(packed):
                self._reduce(packed, value)
            if run is None and self._plain:
                self._bind_forward(logits, target, losses)
            return value, losses, packed
        losses, packed = self._passes.maps()
        workspace = torch.empty(self._workspace, dtype=torch.uint8, device=self._device)
        run(
            logits.data_ptr(), target.data_ptr(), losses.data_ptr(), packed.data_ptr(),
            workspace.data_ptr(), value.data_ptr(),
        )  # fmt: skip
        return value, losses, packed

    def backward(
        self,
        grad: Tensor,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        losses: Tensor,
        packed: Tensor,
    ) -> Tensor | None:
        outer = self._passes.upstream(grad, logits, target, weight, losses, packed)
        if outer is None:
            return None
        each = self._reduction == "none"
        upstream = outer if each else outer.new_empty(self._pools)
        run = self._backward
        addresses = [x.data_ptr() for x in (outer, upstream, packed, logits, target, losses)]
        bits = addresses[0] | addresses[2] | addresses[3] | addresses[4] | addresses[5]
        if run is not None and self._binds(bits):
            made = torch.empty_like(logits)
            run(*addresses, made.data_ptr())
            return made
        if not each:
            with on_device_of(packed):
                self._spread(packed, outer, upstream)
        numbers = *self._numbers, self._weighting
        made = gradient(upstream, logits, target, weight, losses, packed, *numbers)
        if run is None and self._plain:
            self._bind_backward(logits, target, made)
        return made

    def _binds(self, addresses: int) -> bool:
        """Whether bound launches may be used at addresses with these bits."""
        index = self._device.index
        here = index is None or index == _current_device()  # the interpreter's has no index
        return here and not addresses % ALIGNMENT and not observed()

    def _bind_forward(self, logits: Tensor, target: Tensor, losses: Tensor) -> None:
        loss = terms(self._numbers[1], logits.shape[1], None).numbers
        first = losses_launch(logits, target, self._numbers[0], loss).bound()
        last = self._reduce.bound()
        pixels = as_pools(losses, self._pools)
        between = solver(pixels, False, self._weighting, True).bound()
        if first is None or between is None or last is None:
            return
        solving, self._workspace = between

        def run(
            logits: int, target: int, losses: int, packed: int, workspace: int, value: int
        ) -> None:
            stream = _current_stream(self._device)
            first(stream, logits, target, None, None, losses)
            solving(stream, losses, packed, workspace)
            last(stream, packed, value)

        self._forward = run

    def _bind_backward(self, logits: Tensor, target: Tensor, made: Tensor) -> None:
        loss = terms(self._numbers[1], logits.shape[1], None).numbers
        shape = weights.norm(self._weighting)
        launch = gradient_launch(
            logits, target, made, self._numbers[0], loss, shape, self._pools
        ).bound()
        each, spread = self._reduction == "none", self._spread.bound()
        if launch is None or (spread is None and not each):
            return

        def run(
            grad: int, upstream: int, packed: int, logits: int, target: int, losses: int, made: int
        ) -> None:
            stream = _current_stream(self._device)
            if spread is not None:
                spread(stream, packed, grad, upstream)
            launch(stream, upstream, packed, logits, target, None, None, losses, made)

        self._backward = run


def _current_device() -> int:
    device: int = driver.active.get_current_device()
    return device


def _current_stream(device: torch.device) -> int:
    stream: int = driver.active.get_current_stream(device.index or 0)
    return stream
