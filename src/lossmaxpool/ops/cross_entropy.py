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
from typing import Any

import torch
from torch import Tensor

from lossmaxpool.ops.backends import as_pools, wide_float
from lossmaxpool.ops.backends.threshold import packed_like
from lossmaxpool.ops.dispatch import choose, kernels
from lossmaxpool.ops.inputs import refuse_unknown_labels
from lossmaxpool.ops.max_pool import (
    SECOND_DERIVATIVE,
    WORLD_UNDER_VMAP,
    fold,
    fold_columns,
    holds_nan,
    runs_directly,
    solve_pools,
)
from lossmaxpool.ops.ranks import ranks
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
) -> tuple[Tensor, Tensor]:
    """The differentiable values of the pools, and their (6, R) thresholds.

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

    Raises:
        RuntimeError: a backend that cannot run here.
        ValueError: on the CPU, class ids outside [0, C).
    """
    function = _Direct if runs_directly(logits) else _PooledCrossEntropy
    options = (ignore_index, label_smoothing, list(weighting), pools, world, backend)
    value, packed, _ = function.apply(logits, target, weight, *options)
    return value, packed


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
) -> tuple[Tensor, Tensor, Tensor]:
    """(R,) values, (6, R) thresholds, (B, *spatial) losses; only the values are differentiable."""
    run = kernels(choose(logits, target, backend))
    losses = run.pixel_losses(logits, target, weight, ignore_index, label_smoothing)
    pixels = as_pools(losses, pools)
    packed = solve_pools(run, pixels, None, WeightingSet(*weighting), world=world, marked=True)
    value = packed[0].to(losses.dtype, copy=True)
    # A wrong label makes its pool NaN, so search for it only then, and only where reading values
    # does not synchronize with a device.
    if value.device.type == "cpu" and holds_nan(value):
        refuse_unknown_labels(target, logits.shape[1], ignore_index)
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
    pools = options[-3]
    losses = logits.new_empty(target.shape, dtype=wide_float(logits.dtype))
    return losses.new_empty(pools), packed_like(losses, pools), losses


@cross_entropy_backward.register_fake
def _(grad_value: Tensor, logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, target, weight, *options, _, world, backend = inputs
    _, packed, losses = output
    ctx.mark_non_differentiable(packed, losses)
    ctx.save_for_backward(logits, target, weight, losses, packed)
    ctx.options = (*options, backend)
    # Gradients are averaged over ranks afterwards: scale them, so that the mean is their sum.
    ctx.scale = ranks(world).size


def _differentiate(ctx: Any, grad_value: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    scaled = grad_value if ctx.scale == 1 else grad_value * ctx.scale
    return _Gradient.apply(scaled, *ctx.saved_tensors, *ctx.options), *[None] * 8


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
        )
        return value, packed, losses

    setup_context = staticmethod(_keep)
    backward = staticmethod(_differentiate)


class _Direct(torch.autograd.Function):
    """The same without the operators, used if ``runs_directly``."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        output = _forward(*arguments)
        _keep(ctx, arguments, output)
        return output

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True: the operator raises in the next backward
            return _differentiate(ctx, grad_value)
        scaled = grad_value if ctx.scale == 1 else grad_value * ctx.scale
        return _backward(scaled, *ctx.saved_tensors, *ctx.options), *[None] * 8


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
    *numbers, pools, world, backend = options
    if world:
        raise NotImplementedError(WORLD_UNDER_VMAP)
    size = info.batch_size
    value, packed, losses = cross_entropy(
        fold(logits, in_dims[0], size),
        fold(target, in_dims[1], size),
        _shared(weight, in_dims[2]),
        *numbers,
        pools * size,
        world,
        backend,
    )
    value, losses = value.unflatten(0, (size, -1)), losses.unflatten(0, (size, -1))
    return (value, packed.unflatten(1, (size, -1)), losses), (0, 1, 0)


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
