"""Values and gradients of all pools from the logits, in three passes over the logits.

With class weights v and label smoothing s, the loss of a pixel of class y with C scores x is

    l = (1 - s) v[y] (logsumexp(x) - x[y]) + s / C * sum_c v[c] (logsumexp(x) - x[c])

as in ``torch.nn.CrossEntropyLoss(reduction="none")``, and never -0.0. The map of losses holds
``IGNORED`` at ignored pixels and is all that is stored between the passes: w* is elementwise once
the threshold is known. ``lossmaxpool::cross_entropy`` and ``lossmaxpool::cross_entropy_backward``
are ``torch.library`` operators, opaque to the compiler; see :mod:`lossmaxpool.ops.max_pool` for the
direct path that bypasses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from lossmaxpool.ops.backends import Kernels, Prepared, as_pools, wide_float
from lossmaxpool.ops.backends.kernel_inputs import by_form
from lossmaxpool.ops.backends.threshold import packed_like
from lossmaxpool.ops.dispatch import choose, kernels
from lossmaxpool.ops.inputs import refuse_overwriting, refuse_unknown_labels
from lossmaxpool.ops.max_pool import (
    SECOND_DERIVATIVE,
    WORLD_UNDER_VMAP,
    fold,
    fold_columns,
    runs_directly,
    solve_pools,
)
from lossmaxpool.ops.ranks import ranks
from lossmaxpool.ops.reduction import (
    FEW,
    count_pools,
    divisor_of,
    holds_nan,
    reduce_each,
    reduce_pools,
    result_shape,
    spread,
)
from lossmaxpool.ops.weighting_set import WeightingSet


def max_pooling_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    weighting: WeightingSet,
    *,
    pools: int,
    world: bool,
    backend: str,
    reduction: str,
    overwrite: bool = False,
) -> Tensor:
    """The differentiable values of the pools, reduced over them.

    Args:
        logits: (B, C, *low) scores.
        target: (B, *spatial) class ids; no spatial size may be smaller than in ``low``.
        weight: (C,) class weights, or None.
        ignore_index: the id of ignored pixels.
        label_smoothing: in [0, 1].
        weighting: the weighting set.
        pools: R, the number of pools of consecutive images: B (one per image) or 1 (the batch).
        world: one pool over all ranks; R is 1.
        backend: "auto", "torch", "native" or "triton".
        reduction: "none", "sum", or "mean" over the pools that have a valid pixel.
        overwrite: the backward pass writes the gradient in place of the logits.

    Raises:
        RuntimeError: a backend that cannot run here, or logits that cannot be overwritten here.
        ValueError: on the CPU, class ids outside [0, C); logits that cannot be overwritten.
    """
    tensors = (logits, target, weight)
    numbers, options = (ignore_index, label_smoothing), (pools, world, backend, reduction)
    if runs_directly(*tensors):
        call = prepare(*tensors, *numbers, weighting, pools, world, backend, reduction, overwrite)
        return directly(call, *tensors)
    if overwrite:
        raise RuntimeError(NOT_IN_PLACE_HERE)
    value: Tensor
    value, *_ = _PooledCrossEntropy.apply(*tensors, *numbers, list(weighting), *options)
    return value


NOT_IN_PLACE_HERE = (
    "inplace_backward=True needs an eager call on plain tensors: within torch.compile, torch.func, "
    "a dispatch mode or with a tensor subclass, leave it out."
)
ALREADY_OVERWRITTEN = (
    "inplace_backward=True: a backward pass of this loss has overwritten the logits. For another "
    "one, call the loss again, or leave inplace_backward out."
)
NO_GRAPH_IN_PLACE = (
    "inplace_backward=True overwrites the logits, which create_graph=True would need again: leave "
    "one of the two out."
)


class Direct(NamedTuple):
    """The prepared computation of a call without operators, for tensors of one form."""

    run: Prepared
    ignore_index: int
    world: bool
    reduction: str
    overwrite: bool
    options: tuple[Any, ...]  # of the operator of the gradient


@by_form(tensors=3)
def prepare(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    weighting: WeightingSet,
    pools: int,
    world: bool,
    backend: str,
    reduction: str,
    overwrite: bool,
) -> Direct:
    """:func:`max_pooling_cross_entropy` for tensors of this form, if ``runs_directly``.

    Raises:
        RuntimeError: a backend that cannot run here.
        ValueError: logits that cannot be overwritten.
    """
    if overwrite:
        refuse_overwriting(logits, target)
    run, numbers = kernels(choose(logits, target, backend)), (ignore_index, label_smoothing)
    prepared = None
    if not world and pools <= FEW:
        prepared = run.prepare(logits, target, weight, *numbers, weighting, pools, reduction)
    if prepared is None:
        prepared = _Stages(run, *numbers, weighting, pools, world, reduction)
    options = (*numbers, list(weighting), backend)
    return Direct(prepared, ignore_index, world, reduction, overwrite, options)


def directly(call: Direct, logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """The differentiable value, for tensors of the form that the call was prepared for."""
    value: Tensor = _Direct.apply(logits, target, weight, call)
    return value


class _Stages(NamedTuple):
    """The stages of any backend one after the other; see ``ops.backends.Prepared``."""

    run: Kernels
    ignore_index: int
    label_smoothing: float
    weighting: WeightingSet
    pools: int
    world: bool
    reduction: str

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        losses = self.run.pixel_losses(
            logits, target, weight, self.ignore_index, self.label_smoothing
        )
        pixels = as_pools(losses, self.pools)
        packed = solve_pools(self.run, pixels, None, self.weighting, world=self.world, marked=True)
        value, _ = reduce_pools(packed, losses.dtype, self.reduction)
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
    ) -> Tensor:
        outer = spread(grad, count_pools(packed, self.reduction), packed.shape[1], 1)
        options = self.ignore_index, self.label_smoothing, self.weighting, out
        return self.run.gradient(outer, logits, target, weight, losses, packed, *options)


def _refuse_wrong_labels(value: Tensor, target: Tensor, classes: int, ignore_index: int) -> None:
    # A wrong label makes its pool NaN, so search for it only then, and only where reading values
    # does not synchronize with a device.
    if value.is_cpu and holds_nan(value):
        refuse_unknown_labels(target, classes, ignore_index)


def _forward(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    weighting: Sequence[float],
    pools: int,
    world: bool,
    backend: str,
    reduction: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """The reduced value, thresholds and losses; only the value is differentiable."""
    run = kernels(choose(logits, target, backend))
    stages = _Stages(
        run, ignore_index, label_smoothing, WeightingSet(*weighting), pools, world, reduction
    )
    value, losses, packed = stages.forward(logits, target, weight)
    _refuse_wrong_labels(value, target, logits.shape[1], ignore_index)
    return value, packed, losses


def _backward(
    grad_value: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    losses: Tensor,
    packed: Tensor,
    ignore_index: int,
    label_smoothing: float,
    weighting: Sequence[float],
    backend: str,
) -> Tensor:
    """(R,) gradient of the values -> gradient of the logits, in their shape, dtype and strides."""
    return kernels(choose(logits, target, backend)).gradient(
        grad_value,
        logits,
        target,
        weight,
        losses,
        packed,
        ignore_index,
        label_smoothing,
        WeightingSet(*weighting),
    )


cross_entropy = torch.library.custom_op("lossmaxpool::cross_entropy", _forward, mutates_args=())
cross_entropy_backward = torch.library.custom_op(
    "lossmaxpool::cross_entropy_backward", _backward, mutates_args=()
)


@cross_entropy.register_fake
def _(logits: Tensor, target: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    pools, reduction = options[-4], options[-1]
    losses = logits.new_empty(target.shape, dtype=wide_float(logits.dtype))
    return losses.new_empty(result_shape(pools, reduction)), packed_like(losses, pools), losses


@cross_entropy_backward.register_fake
def _(grad_value: Tensor, logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, packed, losses = output
    ctx.mark_non_differentiable(packed, losses)
    logits, target, weight, *options, _, world, backend, ctx.reduction = inputs
    ctx.save_for_backward(logits, target, weight, losses, packed)
    ctx.options, ctx.scale = (*options, backend), ranks(world).size


def _differentiate(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    packed = ctx.saved_tensors[-1]
    outer = spread(grad, divisor_of(packed, ctx.reduction), packed.shape[1], ctx.scale)
    return _Gradient.apply(outer, *ctx.saved_tensors, *ctx.options), *[None] * 9


def _refuse(ctx: Any, grad: Tensor) -> None:
    raise NotImplementedError(SECOND_DERIVATIVE)


cross_entropy.register_autograd(_differentiate, setup_context=_keep)
cross_entropy_backward.register_autograd(_refuse)


# The same derivatives again as autograd Functions: torch.func transforms ignore the formulas that
# are registered with an operator.
class _PooledCrossEntropy(torch.autograd.Function):
    generate_vmap_rule = True

    # Explicit arguments: torch.compile passes a context to a variadic forward when no input
    # requires a gradient.
    @staticmethod
    def forward(
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        ignore_index: int,
        label_smoothing: float,
        weighting: Sequence[float],
        pools: int,
        world: bool,
        backend: str,
        reduction: str,
    ) -> tuple[Tensor, Tensor, Tensor]:
        value, packed, losses = cross_entropy(
            logits,
            target,
            weight,
            ignore_index,
            label_smoothing,
            weighting,
            pools,
            world,
            backend,
            reduction,
        )
        return value, packed, losses

    setup_context = staticmethod(_keep)
    backward = staticmethod(_differentiate)


_OVERWRITTEN = -1  # in place of an address


class _Direct(torch.autograd.Function):
    """The same without the operators, used if ``runs_directly``."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, weight: Tensor | None, call: Direct
    ) -> Tensor:
        value, losses, packed = call.run.forward(logits, target, weight)
        _refuse_wrong_labels(value, target, logits.shape[1], call.ignore_index)
        ctx.save_for_backward(logits, target, weight, losses, packed)
        ctx.call = call
        if call.world:
            ctx.scale = ranks(True).size
        if call.overwrite:
            ctx.place = logits.data_ptr()
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        call, differentiable, out = ctx.call, torch.is_grad_enabled(), None
        if call.overwrite:
            if differentiable:
                raise RuntimeError(NO_GRAPH_IN_PLACE)
            if ctx.place == _OVERWRITTEN:
                raise RuntimeError(ALREADY_OVERWRITTEN)
        saved, gradient = ctx.saved_tensors, None
        if call.world and ctx.scale > 1:
            grad = grad * ctx.scale
        # Hooks, as of checkpoints, may have saved a copy: there is nothing to overwrite.
        if call.overwrite and saved[0].data_ptr() == ctx.place:
            # Whatever else autograd has saved of this memory must not be used any more.
            increment_version(saved[0])
            ctx.place, out = _OVERWRITTEN, saved[0].detach()
        if not differentiable:
            gradient = call.run.backward(grad, *saved, out)
        if gradient is None:  # e.g. create_graph=True: the operator raises in the next backward
            packed = saved[-1]
            outer = spread(grad, divisor_of(packed, call.reduction), packed.shape[1], 1)
            gradient = _Gradient.apply(outer, *saved, *call.options)
        return gradient, None, None, None


class _Gradient(torch.autograd.Function):
    """:func:`cross_entropy_backward`, which raises if it is differentiated."""

    generate_vmap_rule = True

    # Explicit arguments: torch 2.8 cannot compile a variadic forward applied in a backward pass.
    @staticmethod
    def forward(
        grad_value: Tensor,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        losses: Tensor,
        packed: Tensor,
        ignore_index: int,
        label_smoothing: float,
        weighting: Sequence[float],
        backend: str,
    ) -> Tensor:
        grad: Tensor = cross_entropy_backward(
            grad_value,
            logits,
            target,
            weight,
            losses,
            packed,
            ignore_index,
            label_smoothing,
            weighting,
            backend,
        )
        return grad

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save nothing: there is no second derivative."""

    backward = staticmethod(_refuse)


@cross_entropy.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *options: Any,
) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[int, int, int]]:
    *numbers, pools, world, backend, reduction = options
    if world:
        raise NotImplementedError(WORLD_UNDER_VMAP)
    size = info.batch_size
    _, packed, losses = cross_entropy(
        fold(logits, in_dims[0], size),
        fold(target, in_dims[1], size),
        _shared(weight, in_dims[2]),
        *numbers,
        pools * size,
        world,
        backend,
        "none",
    )
    packed = packed.unflatten(1, (size, -1))
    value = reduce_each(packed, losses.dtype, reduction)
    return (value, packed, losses.unflatten(0, (size, -1))), (0, 1, 0)


@cross_entropy_backward.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    grad_value: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    losses: Tensor,
    packed: Tensor,
    *options: Any,
) -> tuple[Tensor, int]:
    size = info.batch_size
    grad: Tensor = cross_entropy_backward(
        fold(grad_value, in_dims[0], size),
        fold(logits, in_dims[1], size),
        fold(target, in_dims[2], size),
        _shared(weight, in_dims[3]),
        fold(losses, in_dims[4], size),
        fold_columns(packed, in_dims[5], size),
        *options,
    )
    return grad.reshape(size, -1, *grad.shape[1:]), 0


def _shared(weight: Tensor | None, dim: int | None) -> Tensor | None:
    if weight is not None and dim is not None:
        raise NotImplementedError(
            "class weights that differ along a vmapped dimension are not supported: call the loss "
            "once per set of weights."
        )
    return weight
