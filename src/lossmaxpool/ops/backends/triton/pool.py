"""Pixel losses to the value of their pools, and w*: all launches of ``loss_max_pool``."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import Passes, by_form
from lossmaxpool.ops.backends.triton.launch import (
    Launch,
    current_stream,
    may_bind,
    on_device_of,
)
from lossmaxpool.ops.backends.triton.solver import (
    UNREDUCED,
    grad_of_pool,
    reduction_number,
    row_lanes,
    sift,
    solver,
)
from lossmaxpool.ops.backends.triton.weights import Norm, load_pool, norm, pool_weight
from lossmaxpool.ops.weighting_set import WeightingSet

BLOCK = 1024


@triton.jit(do_not_specialize=["rows", "units", "tiles"])
def weigh_kernel(
    losses, valid, packed, grad, weights, rows, units, tiles, exponent,
    UNIT: tl.constexpr, NORM: tl.constexpr, MASKED: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, REDUCTION: tl.constexpr,
):  # fmt: skip
    """Program: one tile of one row of losses (R, N), N = UNIT x units.

    With a reduction, the weights times the gradient of the reduced value: that of the losses.
    """
    pixels = tl.full([], units, tl.int64) * UNIT
    row = (tl.program_id(0) // tiles).to(tl.int64)
    n = (tl.program_id(0) % tiles).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = n < pixels
    loss = tl.load(losses + row * pixels + n, mask=inside, other=0.0)
    threshold, cap, scale = load_pool(packed, row, rows, exponent, NORM)
    weight = pool_weight(loss, threshold, cap, scale, exponent, NORM)
    if MASKED:
        exists = tl.load(valid + row * pixels + n, mask=inside, other=0) != 0
        weight = tl.where(exists, weight, 0.0)
    if REDUCTION != UNREDUCED:
        weight *= grad_of_pool(grad, packed, rows, row, ROWS, REDUCTION)
    tl.store(weights + row * pixels + n, weight, mask=inside)


def weigh(losses: Tensor, valid: Tensor | None, packed: Tensor, shape: Norm) -> Tensor:
    """(R, N) contiguous losses and mask, (6, R) thresholds -> (R, N) float32 weights."""
    weights = torch.empty_like(losses)
    if losses.numel() == 0:
        return weights
    launch = weigh_launch(losses, valid is not None, shape, None)
    with on_device_of(losses):
        launch(losses, valid, packed, None, weights)
    return weights


@by_form(tensors=1)
def weigh_launch(losses: Tensor, masked: bool, shape: Norm, reduction: str | None) -> Launch:
    rows, pixels = losses.shape
    tiles, unit = triton.cdiv(pixels, BLOCK), math.gcd(4, pixels)
    return Launch(
        weigh_kernel, (tiles * rows,), rows, pixels // unit, tiles, shape.exponent,
        UNIT=unit, NORM=shape.kind, MASKED=masked, BLOCK=BLOCK, ROWS=row_lanes(rows, reduction),
        REDUCTION=reduction_number(reduction), num_warps=4,
    )  # fmt: skip


class PooledLosses:
    """All launches of a loss of contiguous losses: see ``ops.backends.PreparedPool``.

    The first pass compiles the kernels; all later ones launch them by addresses.
    """

    def __init__(
        self,
        losses: Tensor,
        valid: Tensor | None,
        weighting: WeightingSet,
        pools: int,
        reduction: str,
    ) -> None:
        self._reduction, self._device, self._norm = reduction, losses.device, norm(weighting)
        self._passes = Passes(losses, valid, pools=pools, reduction=reduction)
        self._rows, self._masked = (pools, losses.numel() // pools), valid is not None
        rows = losses.view(self._rows)
        self._solver = solver(rows, self._masked, weighting, False, reduction)
        self._weigh = weigh_launch(rows, self._masked, self._norm, reduction)
        self._forward: Callable[..., None] | None = None
        self._workspace = 0

    def forward(self, losses: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        value, packed = self._passes.value(), self._passes.packed()
        totals = self._solver.totals()
        read = (losses.data_ptr(), None if valid is None else valid.data_ptr())
        run = self._forward
        if run is not None and may_bind(self._device, read[0] | (read[1] or 0)):
            workspace = torch.empty(self._workspace, dtype=torch.uint8, device=self._device)
            run(
                current_stream(self._device), *read, totals.data_ptr(), workspace.data_ptr(),
                packed.data_ptr(), value.data_ptr(),
            )  # fmt: skip
            return value, packed
        rows, mask = losses.view(self._rows), None if valid is None else valid.view(self._rows)
        with on_device_of(losses):
            self._solver.counting(rows, mask, totals)
            sift(self._solver, rows, mask, totals, packed, value)
        bound = self._solver.bound(counting=True)
        if bound is not None:
            self._forward, self._workspace = bound
        return value, packed

    def backward(
        self, grad: Tensor, losses: Tensor, valid: Tensor | None, packed: Tensor
    ) -> Tensor | None:
        outer = self._passes.upstream(grad, losses, valid, packed)
        if outer is None:
            return None
        run = self._weigh.bound()
        made = torch.empty_like(losses)
        read = (losses.data_ptr(), None if valid is None else valid.data_ptr())
        last = (packed.data_ptr(), outer.data_ptr())
        if run is not None and may_bind(self._device, read[0] | (read[1] or 0) | last[0] | last[1]):
            run(current_stream(self._device), *read, *last, made.data_ptr())
            return made
        with on_device_of(losses):
            self._weigh(losses, valid, packed, outer, made)
        return made
