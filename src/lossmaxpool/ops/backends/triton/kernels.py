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
from lossmaxpool.ops.backends.triton.solver import find_threshold, sift, solver
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
    return _gradient(
        grad_value.float().contiguous(), logits, target, weight, losses, packed, ignore_index,
        label_smoothing, weighting, "none",
    )  # fmt: skip


def _gradient(
    grad: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    losses: Tensor,
    packed: Tensor,
    ignore_index: int,
    label_smoothing: float,
    weighting: WeightingSet,
    reduction: str,
) -> Tensor:
    target = target.contiguous()
    loss = terms(label_smoothing, logits.shape[1], weight)
    run = dense_gradient if logits.shape[2:] == target.shape[1:] else upsampled_gradient
    return run(
        grad, logits, target, losses, packed, ignore_index, loss, weights.norm(weighting), reduction
    )


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
        losses, _ = self._passes.maps()
        self._solver = solver(as_pools(losses, pools), False, weighting, True, reduction)
        self._dense = logits.shape[2:] == target.shape[1:]
        self._plain = self._dense and weight is None and target.is_contiguous()
        self._forward: Callable[..., None] | None = None
        self._backward: Callable[..., None] | None = None
        self._workspace = 0

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        value, (losses, packed) = self._passes.value(), self._passes.maps()
        totals = torch.zeros(self._solver.totals, dtype=torch.int64, device=self._device)
        run = self._forward
        if run is not None and self._binds(logits.data_ptr() | target.data_ptr()):
            workspace = torch.empty(self._workspace, dtype=torch.uint8, device=self._device)
            run(
                logits.data_ptr(), target.data_ptr(), losses.data_ptr(), totals.data_ptr(),
                workspace.data_ptr(), packed.data_ptr(), value.data_ptr(),
            )  # fmt: skip
            return value, losses, packed
        target = target.contiguous()
        loss = terms(self._numbers[1], logits.shape[1], weight)
        with on_device_of(logits):
            if self._dense:
                first = losses_launch(logits, target, self._numbers[0], loss.numbers, self._pools)
                first(logits, target, loss.weight, loss.weight_sum, losses, totals)
            else:
                losses = upsampled_losses(logits, target, self._numbers[0], loss)
                self._solver.counting(losses, None, totals)
            sift(self._solver, losses, None, totals, packed, value)
        if run is None and self._plain:
            self._bind_forward(logits, target)
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
        run = self._backward
        read = (outer.data_ptr(), packed.data_ptr(), logits.data_ptr(), target.data_ptr())
        if run is not None and self._binds(
            read[0] | read[1] | read[2] | read[3] | losses.data_ptr()
        ):
            made = torch.empty_like(logits)
            run(*read, losses.data_ptr(), made.data_ptr())
            return made
        made = _gradient(
            outer, logits, target, weight, losses, packed, *self._numbers, self._weighting,
            self._reduction,
        )  # fmt: skip
        if run is None and self._plain:
            self._bind_backward(logits, target, made)
        return made

    def _binds(self, addresses: int) -> bool:
        """Whether bound launches may be used at addresses with these bits."""
        index = self._device.index
        here = index is None or index == _current_device()  # the interpreter's has no index
        return here and not addresses % ALIGNMENT and not observed()

    def _bind_forward(self, logits: Tensor, target: Tensor) -> None:
        loss = terms(self._numbers[1], logits.shape[1], None).numbers
        first = losses_launch(logits, target, self._numbers[0], loss, self._pools).bound()
        behind = self._solver.bound()
        if first is None or behind is None:
            return
        solve, self._workspace = behind

        def run(
            logits: int, target: int, losses: int, totals: int, workspace: int, packed: int,
            value: int,
        ) -> None:  # fmt: skip
            stream = _current_stream(self._device)
            first(stream, logits, target, None, None, losses, totals)
            solve(stream, losses, totals, workspace, packed, value)

        self._forward = run

    def _bind_backward(self, logits: Tensor, target: Tensor, made: Tensor) -> None:
        loss = terms(self._numbers[1], logits.shape[1], None).numbers
        shape = weights.norm(self._weighting)
        launch = gradient_launch(
            logits, target, made, self._numbers[0], loss, shape, self._pools, self._reduction
        ).bound()
        if launch is None:
            return

        def run(grad: int, packed: int, logits: int, target: int, losses: int, made: int) -> None:
            stream = _current_stream(self._device)
            launch(stream, grad, packed, logits, target, None, None, losses, made)

        self._backward = run


def _current_device() -> int:
    device: int = driver.active.get_current_device()
    return device


def _current_stream(device: torch.device) -> int:
    stream: int = driver.active.get_current_stream(device.index or 0)
    return stream
