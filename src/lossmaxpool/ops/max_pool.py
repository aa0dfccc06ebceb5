"""Values of all pools from pixel losses, and their gradient w* (envelope theorem).

``lossmaxpool::pool`` maps losses to values and packed thresholds; ``lossmaxpool::weigh`` maps both
to w*. They are ``torch.library`` operators, opaque to the compiler. The
losses are saved for the backward pass, which computes w* from them elementwise.

They are wrapped in :class:`torch.autograd.Function`, which torch.func's transforms need.
Outside of compilers and transforms the function calls the backend directly (:func:`runs_directly`):
for small tensors, dispatching an operator costs more than its computation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossmaxpool.ops.backends import Kernels, PreparedPool
from lossmaxpool.ops.backends.kernel_inputs import by_form
from lossmaxpool.ops.backends.threshold import find_threshold, packed_like
from lossmaxpool.ops.dispatch import choose_solver, kernels
from lossmaxpool.ops.inputs import refuse_negative
from lossmaxpool.ops.ranks import ranks
from lossmaxpool.ops.reduction import (
    FEW,
    divisor_of,
    holds_nan,
    reduce_each,
    reduce_pools,
    result_shape,
    scale_rows,
    spread,
)
from lossmaxpool.ops.weighting_set import WeightingSet

SECOND_DERIVATIVE = (
    "loss max-pooling has no second derivative here: w* was differentiated with respect "
    "to the losses (create_graph=True, gradgradcheck, a Hessian or a gradient penalty "
    "through this loss). Hold the weights fixed instead: "
    "(solve(losses).weights * losses).sum() is differentiable as often as the losses are."
)
WORLD_UNDER_VMAP = (
    'pool="world" does not run under vmap: every call is a collective over the ranks. '
    'Use pool="batch" or "image" inside vmap.'
)


def max_pool(
    losses: Tensor,
    valid: Tensor | None,
    weighting: WeightingSet,
    *,
    world: bool,
    backend: str,
    reduction: str,
) -> Tensor:
    """The differentiable values of (R, N) losses, reduced over the R pools.

    Args:
        losses: (R, N) float32 or float64, one pool a row.
        valid: (R, N) bool, or None if all are valid.
        weighting: the weighting set.
        world: one pool over all ranks; R is 1.
        backend: "auto", "torch", "native" or "triton".
        reduction: "none", "sum", or "mean" over the pools that have a valid pixel.

    Raises:
        RuntimeError: a backend that cannot solve these losses.
        ValueError: negative losses on the CPU.
    """
    if runs_directly(losses, valid):
        call = prepare(losses, valid, weighting, len(losses), world, backend, reduction)
        return directly(call, losses, valid)
    value: Tensor
    value, _ = _Pool.apply(losses, valid, list(weighting), world, backend, reduction)
    return value


class PoolCall(NamedTuple):
    """A call without operators, prepared for tensors of one form."""

    run: PreparedPool
    rows: tuple[int, int]  # R pools of N losses
    world: bool
    reduction: str
    options: tuple[list[float], str]  # of the operator of the weights


@by_form(tensors=2)
def prepare(
    losses: Tensor,
    valid: Tensor | None,
    weighting: WeightingSet,
    pools: int,
    world: bool,
    backend: str,
    reduction: str,
) -> PoolCall:
    """:func:`max_pool` for losses and masks of this form, of any shape, if ``runs_directly``.

    ``pools`` is R: as many consecutive parts of the losses, each of N.

    Raises:
        RuntimeError: a backend that cannot solve these losses.
    """
    run = kernels(choose_solver(losses, backend))
    rows = (pools, losses.numel() // pools if pools else 0)
    prepared = None
    if not world and pools <= FEW:
        prepared = run.prepare_pool(losses, valid, weighting, pools, reduction)
    if prepared is None:
        prepared = _PoolStages(run, weighting, rows, world, reduction)
    return PoolCall(prepared, rows, world, reduction, (list(weighting), backend))


def directly(call: PoolCall, losses: Tensor, valid: Tensor | None) -> Tensor:
    """The differentiable value, for tensors of the form that the call was prepared for."""
    value: Tensor = _DirectPool.apply(losses, valid, call)
    return value


class _PoolStages(NamedTuple):
    """The stages of any backend one after the other; see ``ops.backends.PreparedPool``."""

    run: Kernels
    weighting: WeightingSet
    rows: tuple[int, int]
    world: bool
    reduction: str

    def forward(self, losses: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        rows, mask = _as_rows(self.rows, losses, valid)
        packed = solve_pools(self.run, rows, mask, self.weighting, world=self.world)
        value, _ = reduce_pools(packed, losses.dtype, self.reduction)
        return value, packed

    def backward(
        self, grad: Tensor, losses: Tensor, valid: Tensor | None, packed: Tensor
    ) -> Tensor:
        rows, mask = _as_rows(self.rows, losses, valid)
        weights = self.run.weigh(rows, mask, packed, self.weighting)
        scale_rows(weights, grad, packed, self.reduction)
        return weights.view(losses.shape)


def _as_rows(
    rows: tuple[int, int], losses: Tensor, valid: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    if losses.shape == rows:
        return losses, valid
    return losses.reshape(rows), None if valid is None else valid.reshape(rows)


def solve_pools(
    run: Kernels,
    losses: Tensor,
    valid: Tensor | None,
    weighting: WeightingSet,
    *,
    world: bool,
    marked: bool = False,
) -> Tensor:
    """(6, R) thresholds of (R, N) losses; the torch backend solves pools over several ranks.

    ``marked``: a negative loss marks an ignored pixel; otherwise it makes the value NaN.
    """
    over = ranks(world)
    if over.size == 1:
        return run.solve(losses, valid, weighting, marked)
    if marked:
        valid = ~(losses < 0)  # a NaN counts as valid
    return find_threshold(losses, valid, weighting, over)


def runs_directly(*tensors: Tensor | None) -> bool:
    """Whether only autograd is active: no compiler, no transform, no mode, no tensor subclass."""
    # First of all: a compiler that traces this line cannot follow the others.
    if torch.compiler.is_compiling() or _transforms_active() or _modes_active():
        return False
    # A tensor may be negated by a flag (x.conj().imag), which only an operator resolves.
    for x in tensors:
        if x is None:
            continue
        if type(x) not in _PLAIN or x.is_neg():
            return False
    return True


_PLAIN = (Tensor, torch.nn.Parameter)


def _never() -> bool:
    return True  # this torch lacks these counters: always use the operator


_transforms_active: Callable[[], bool] = getattr(
    torch._C, "_are_functorch_transforms_active", _never
)
_modes_active: Callable[[], bool] = getattr(torch._C, "_len_torch_dispatch_stack", _never)


def _refuse_negative(
    value: Tensor, call: _PoolStages | PoolCall, losses: Tensor, valid: Tensor | None
) -> None:
    # A negative loss makes its pool NaN, so search for it only then. On a GPU this would
    # synchronize; with pool="world", raising would leave the other ranks waiting.
    if value.is_cpu and not call.world and holds_nan(value):
        refuse_negative(*_as_rows(call.rows, losses, valid))


def _pool(
    losses: Tensor,
    valid: Tensor | None,
    weighting: Sequence[float],
    world: bool,
    backend: str,
    reduction: str,
) -> tuple[Tensor, Tensor]:
    """(R, N) losses -> their reduced value in their dtype, (6, R) thresholds."""
    run = kernels(choose_solver(losses, backend))
    rows = (losses.shape[0], losses.shape[1])
    stages = _PoolStages(run, WeightingSet(*weighting), rows, world, reduction)
    value, packed = stages.forward(losses, valid)
    _refuse_negative(value, stages, losses, valid)
    return value, packed


def _weigh(
    losses: Tensor,
    valid: Tensor | None,
    packed: Tensor,
    weighting: Sequence[float],
    backend: str,
) -> Tensor:
    """(R, N) losses and their thresholds -> (R, N) weights w*."""
    run = kernels(choose_solver(losses, backend))
    return run.weigh(losses, valid, packed, WeightingSet(*weighting))


pool = torch.library.custom_op("lossmaxpool::pool", _pool, mutates_args=())
weigh = torch.library.custom_op("lossmaxpool::weigh", _weigh, mutates_args=())


@pool.register_fake
def _(losses: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    rows = losses.shape[0]
    return losses.new_empty(result_shape(rows, options[-1])), packed_like(losses, rows)


@weigh.register_fake
def _(losses: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(losses, memory_format=torch.contiguous_format)


@pool.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    losses: Tensor,
    valid: Tensor | None,
    weighting: Sequence[float],
    world: bool,
    backend: str,
    reduction: str,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    if world:
        raise NotImplementedError(WORLD_UNDER_VMAP)
    size = info.batch_size
    rows, mask = fold(losses, in_dims[0], size), _fold_mask(valid, in_dims[1], size)
    _, packed = pool(rows, mask, weighting, world, backend, "none")
    packed = packed.unflatten(1, (size, -1))
    return (reduce_each(packed, losses.dtype, reduction), packed), (0, 1)


@weigh.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    losses: Tensor,
    valid: Tensor | None,
    packed: Tensor,
    *options: Any,
) -> tuple[Tensor, int]:
    size = info.batch_size
    rows, mask = fold(losses, in_dims[0], size), _fold_mask(valid, in_dims[1], size)
    weights: Tensor = weigh(rows, mask, fold_columns(packed, in_dims[2], size), *options)
    return weights.view(size, -1, weights.shape[1]), 0


def fold(x: Tensor, dim: int | None, size: int) -> Tensor:
    """Merge a vmapped (B, ...) operand into (size * B, ...): pools are independent."""
    stacked = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
    return stacked.flatten(0, 1)


def fold_columns(packed: Tensor, dim: int | None, size: int) -> Tensor:
    """Merge a vmapped (6, R) threshold into (6, size * R)."""
    if dim is None:
        stacked = packed.unsqueeze(1).expand(-1, size, -1)
    else:
        stacked = packed.movedim(dim, 1)
    return stacked.flatten(1, 2)


def _fold_mask(valid: Tensor | None, dim: int | None, size: int) -> Tensor | None:
    return None if valid is None else fold(valid, dim, size)


class _Pool(torch.autograd.Function):
    """(R, N) losses -> reduced value, (6, R) thresholds; the latter are not differentiable."""

    generate_vmap_rule = True

    # Explicit arguments: torch.compile passes a context to a variadic forward when no input
    # requires a gradient.
    @staticmethod
    def forward(
        losses: Tensor,
        valid: Tensor | None,
        weighting: list[float],
        world: bool,
        backend: str,
        reduction: str,
    ) -> tuple[Tensor, Tensor]:
        value, packed = pool(losses, valid, weighting, world, backend, reduction)
        return value, packed

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        losses, valid, weighting, world, backend, reduction = inputs
        packed = output[1]
        ctx.mark_non_differentiable(packed)
        ctx.save_for_backward(losses, valid, packed)
        ctx.options, ctx.scale, ctx.reduction = (weighting, backend), ranks(world).size, reduction

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        losses, valid, packed = ctx.saved_tensors
        outer = spread(grad, divisor_of(packed, ctx.reduction), packed.shape[1], ctx.scale)
        weights = _Weights.apply(losses, valid, packed, *ctx.options)
        return weights * outer.unsqueeze(1), *[None] * 5


class _DirectPool(torch.autograd.Function):
    """:class:`_Pool` without the operators, used if :func:`runs_directly`."""

    @staticmethod
    def forward(ctx: Any, losses: Tensor, valid: Tensor | None, call: PoolCall) -> Tensor:
        value, packed = call.run.forward(losses, valid)
        _refuse_negative(value, call, losses, valid)
        ctx.save_for_backward(losses, valid, packed)
        ctx.call = call
        if call.world:
            ctx.scale = ranks(True).size
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (losses, valid, packed), call, gradient = ctx.saved_tensors, ctx.call, None
        if call.world and ctx.scale > 1:
            grad = grad * ctx.scale
        if not torch.is_grad_enabled():
            gradient = call.run.backward(grad, losses, valid, packed)
        if gradient is None:  # e.g. create_graph=True: the operator raises in the next backward
            rows, mask = _as_rows(call.rows, losses, valid)
            outer = spread(grad, divisor_of(packed, call.reduction), packed.shape[1], 1)
            gradient = _Weights.apply(rows, mask, packed, *call.options) * outer.unsqueeze(1)
            gradient = gradient.view(losses.shape)
        return gradient, None, None


class _Weights(torch.autograd.Function):
    """w*, which raises if it is differentiated, instead of giving a wrong second derivative."""

    generate_vmap_rule = True

    # Explicit arguments: torch 2.8 cannot compile a variadic forward applied in a backward pass.
    @staticmethod
    def forward(
        losses: Tensor,
        valid: Tensor | None,
        packed: Tensor,
        weighting: Sequence[float],
        backend: str,
    ) -> Tensor:
        weights: Tensor = weigh(losses, valid, packed, weighting, backend)
        return weights

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save nothing: there is no second derivative."""

    @staticmethod
    def backward(ctx: Any, grad_weights: Tensor) -> tuple[None, ...]:
        raise NotImplementedError(SECOND_DERIVATIVE)
