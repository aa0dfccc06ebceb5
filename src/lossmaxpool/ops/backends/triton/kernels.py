"""The stages of the operator in Triton, as :class:`lossmaxpool.ops.backends.Kernels` says."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lossmaxpool.ops.backends import as_pools
from lossmaxpool.ops.backends.kernel_inputs import Passes
from lossmaxpool.ops.backends.triton import pool, weights
from lossmaxpool.ops.backends.triton.cross_entropy import Numbers, terms
from lossmaxpool.ops.backends.triton.dense import dense_losses, losses_launch
from lossmaxpool.ops.backends.triton.dense_gradient import dense_gradient, gradient_launch
from lossmaxpool.ops.backends.triton.launch import current_stream, may_bind, on_device_of
from lossmaxpool.ops.backends.triton.solver import find_threshold, sift, solver
from lossmaxpool.ops.backends.triton.upsampling import upsampled_launch, upsampled_losses
from lossmaxpool.ops.backends.triton.upsampling_gradient import (
    bound,
    gradient_launches,
    upsampled_gradient,
)
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
    return pool.weigh(losses.contiguous(), mask, packed.contiguous(), weights.norm(weighting))


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
    reduction: str = "none",
) -> Tensor:
    # With a reduction, `grad_value` is the gradient of what it gives.
    target = target.contiguous()
    loss = terms(label_smoothing, logits.shape[1], weight)
    made = torch.empty_like(logits) if out is None else out
    run = dense_gradient if logits.shape[2:] == target.shape[1:] else upsampled_gradient
    run(
        grad_value.float().contiguous(), logits, target, losses, packed, made, ignore_index, loss,
        weights.norm(weighting), reduction,
    )  # fmt: skip
    return made


def prepare(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    weighting: WeightingSet,
    pools: int,
    reduction: str,
) -> _TritonLoss | None:
    if not target.numel() or not logits.numel() or not pools:
        return None
    numbers = (ignore_index, label_smoothing, weighting, pools, reduction)
    return _TritonLoss(logits, target, weight, *numbers)


def prepare_pool(
    losses: Tensor, valid: Tensor | None, weighting: WeightingSet, pools: int, reduction: str
) -> pool.PooledLosses | None:
    whole = losses.is_contiguous() and (valid is None or valid.is_contiguous())
    if not whole or not losses.numel() or not pools:
        return None
    return pool.PooledLosses(losses, valid, weighting, pools, reduction)


class _TritonLoss:
    """All launches of a loss: see ``ops.backends.Prepared``.

    The first pass compiles the kernels. Where nothing is copied, all later ones launch them by
    addresses, with one workspace.
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
        self._passes = Passes(
            logits, target, weight, pools=pools, reduction=reduction, spatial=target.shape
        )
        losses = as_pools(self._passes.losses(), pools)
        self._solver = solver(losses, False, weighting, True, reduction)
        self._dense = logits.shape[2:] == target.shape[1:]
        self._sums = weight is not None and label_smoothing != 0
        self._copies = not target.is_contiguous() or (not self._dense and logits.stride(-1) != 1)
        if weight is not None:
            self._copies |= weight.dtype != torch.float32 or not weight.is_contiguous()
        self._forward: Callable[..., None] | None = None
        self._backward: Callable[..., None] | None = None
        self._workspace = 0

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        made, totals = self._passes, self._solver.totals()
        value, losses, packed = made.value(), made.losses(), made.packed()
        run = self._forward
        read = (logits.data_ptr(), target.data_ptr(), None if weight is None else weight.data_ptr())
        if run is not None and may_bind(self._device, read[0] | read[1] | (read[2] or 0)):
            workspace = torch.empty(self._workspace, dtype=torch.uint8, device=self._device)
            weight_sum = weight.sum() if weight is not None and self._sums else None
            run(
                *read, None if weight_sum is None else weight_sum.data_ptr(), losses.data_ptr(),
                totals.data_ptr(), workspace.data_ptr(), packed.data_ptr(), value.data_ptr(),
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
        if run is None and not self._copies:
            self._bind_forward(logits, target, loss.numbers)
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
        outer = self._passes.upstream(grad, logits, target, weight, losses, packed)
        if outer is None:
            return None
        run = self._backward
        own = None if weight is None else weight.data_ptr()
        read = (outer.data_ptr(), packed.data_ptr(), logits.data_ptr(), target.data_ptr())
        bits = read[0] | read[1] | read[2] | read[3] | losses.data_ptr() | (own or 0)
        if run is not None and may_bind(self._device, bits):
            made = torch.empty_like(logits) if out is None else out
            weight_sum = weight.sum() if weight is not None and self._sums else None
            total = None if weight_sum is None else weight_sum.data_ptr()
            run(*read, own, total, losses.data_ptr(), made.data_ptr())
            return made
        made = gradient(
            outer, logits, target, weight, losses, packed, *self._numbers, self._weighting, out,
            self._reduction,
        )  # fmt: skip
        if run is None and not self._copies:
            self._bind_backward(logits, target, weight, made)
        return made

    def _bind_forward(self, logits: Tensor, target: Tensor, loss: Numbers) -> None:
        numbers = logits, target, self._numbers[0], loss
        launch = losses_launch(*numbers, self._pools) if self._dense else upsampled_launch(*numbers)
        first, behind = launch.bound(), self._solver.bound(counting=not self._dense)
        if first is None or behind is None:
            return
        solve, self._workspace = behind

        def run(
            logits: int, target: int, weight: int | None, weight_sum: int | None, losses: int,
            totals: int, workspace: int, packed: int, value: int,
        ) -> None:  # fmt: skip
            stream = current_stream(self._device)
            counts = (totals,) if self._dense else ()
            first(stream, logits, target, weight, weight_sum, losses, *counts)
            solve(stream, losses, None, totals, workspace, packed, value)

        self._forward = run

    def _bind_backward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None, made: Tensor
    ) -> None:
        loss = terms(self._numbers[1], logits.shape[1], weight).numbers
        shape = weights.norm(self._weighting)
        numbers = self._numbers[0], loss, shape, self._pools, self._reduction
        launches: Callable[..., object] | None
        if self._dense:
            launches, size = gradient_launch(logits, target, made, *numbers).bound(), 0
        else:
            launches, size = bound(*gradient_launches(logits, target, made, *numbers))
        if launches is None:
            return

        def run(*addresses: int | None) -> None:
            stream = current_stream(self._device)
            if not size:
                launches(stream, *addresses)
                return
            scratch = torch.empty(size, dtype=torch.uint8, device=self._device)
            launches(stream, *addresses, scratch.data_ptr())

        self._backward = run
