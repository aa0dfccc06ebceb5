"""Pooled cross-entropy as ``torch.library`` operators: one opaque node each, forward and backward.

``lossmaxpool::cross_entropy`` maps logits to one value per pool; its derivative is
``lossmaxpool::cross_entropy_backward``, which reads the logits once more. Between the two only the
map of pixel losses is kept, one float per pixel: w* is elementwise once the threshold is known.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossmaxpool.ops.fused.choice import choose
from lossmaxpool.ops.fused.problem import as_pools, wide_float
from lossmaxpool.ops.inputs import refuse_unknown_labels
from lossmaxpool.ops.solver.gradient import SECOND_DERIVATIVE
from lossmaxpool.ops.solver.operators import WORLD_UNDER_VMAP, fold, fold_columns, packed_like
from lossmaxpool.ops.solver.ranks import ranks
from lossmaxpool.ops.solver.rows import solve_rows
from lossmaxpool.ops.weighting_set import WeightingSet


@torch.library.custom_op("lossmaxpool::cross_entropy", mutates_args=())
def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    p: float,
    fraction: float,
    least: float,
    pools: int,
    world: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pool the cross-entropy of every pixel.

    Args:
        logits: (B, C, *low) scores.
        target: (B, *spatial) class ids, spatial nowhere smaller than low.
        weight: (C,) class weights, or None.
        ignore_index: the id of pixels that do not exist.
        label_smoothing: in [0, 1].
        p: norm exponent in [1, inf].
        fraction: m as a share of the valid pixels.
        least: the smallest m. ``m = clip(fraction * n, least, n)``.
        pools: R, how many pools of consecutive images the batch is: B of one image, or 1 of all.
        world: one pool over all ranks; R is 1.
        backend: "auto", "torch", "native" or "triton".

    Returns:
        (R,) values, (6, R) packed thresholds, (B, *spatial) pixel losses (``IGNORED`` where a pixel
        does not exist). The first alone is differentiable.

    Raises:
        RuntimeError: a backend that cannot run here.
        ValueError: on the CPU, class ids outside [0, C).
    """
    chosen = choose(logits, target, backend)
    losses = chosen.kernels.pixel_losses(logits, target, weight, ignore_index, label_smoothing)
    packed = solve_rows(
        as_pools(losses, pools),
        None,
        WeightingSet(p, fraction, least),
        world=world,
        marked=True,
        backend=chosen.name,
    )
    value = packed[0].to(losses.dtype, copy=True)
    # A wrong label made its pool NaN: only then is it worth looking for, and only where looking
    # does not make the host wait for a device.
    if value.device.type == "cpu" and bool(value.isnan().any()):
        refuse_unknown_labels(target, logits.shape[1], ignore_index)
    return value, packed, losses


@cross_entropy.register_fake
def _(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    p: float,
    fraction: float,
    least: float,
    pools: int,
    world: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    losses = logits.new_empty(target.shape, dtype=wide_float(logits.dtype))
    return losses.new_empty(pools), packed_like(losses, pools), losses


@torch.library.custom_op("lossmaxpool::cross_entropy_backward", mutates_args=())
def cross_entropy_backward(
    grad_value: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    losses: Tensor,
    packed: Tensor,
    ignore_index: int,
    label_smoothing: float,
    p: float,
    backend: str,
) -> Tensor:
    """(R,) gradient of the values -> gradient of the logits, in their shape, dtype and layout."""
    grad: Tensor = choose(logits, target, backend).kernels.gradient(
        grad_value,
        logits,
        target,
        weight,
        losses,
        packed,
        ignore_index,
        label_smoothing,
        WeightingSet(p, 1.0),
    )
    return grad


@cross_entropy_backward.register_fake
def _(
    grad_value: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    losses: Tensor,
    packed: Tensor,
    ignore_index: int,
    label_smoothing: float,
    p: float,
    backend: str,
) -> Tensor:
    return torch.empty_like(logits)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, target, weight, ignore_index, label_smoothing, p, _, _, _, world, chosen = inputs
    _, packed, losses = output
    ctx.mark_non_differentiable(packed, losses)
    ctx.save_for_backward(logits, target, weight, losses, packed)
    ctx.options = (ignore_index, label_smoothing, p, chosen)
    # Gradients are averaged over ranks afterwards: the sum over ranks is the true one.
    ctx.scale = ranks(world).size


def _differentiate(ctx: Any, grad_value: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    scaled = grad_value if ctx.scale == 1 else grad_value * ctx.scale
    logits, target, weight, losses, packed = ctx.saved_tensors
    grad = _Gradient.apply(scaled, logits, target, weight, losses, packed, *ctx.options)
    return grad, *[None] * 10


def _refuse(ctx: Any, grad: Tensor) -> None:
    raise NotImplementedError(SECOND_DERIVATIVE)


cross_entropy.register_autograd(_differentiate, setup_context=_keep)
cross_entropy_backward.register_autograd(_refuse)


# The same derivatives once more as Functions: the transforms of torch.func do not look at what is
# registered with an operator.
class PooledCrossEntropy(torch.autograd.Function):
    """:func:`cross_entropy`, for ``torch.func`` too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        value, packed, losses = cross_entropy(*arguments)
        return value, packed, losses

    setup_context = staticmethod(_keep)
    backward = staticmethod(_differentiate)


class _Gradient(torch.autograd.Function):
    """:func:`cross_entropy_backward`, which nothing may differentiate."""

    generate_vmap_rule = True

    # Spelled out: torch 2.8 compiles no variadic forward that is applied in a backward pass.
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
        p: float,
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
            p,
            backend,
        )
        return grad

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept: there is nothing to compute from it."""

    backward = staticmethod(_refuse)


@cross_entropy.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    p: float,
    fraction: float,
    least: float,
    pools: int,
    world: bool,
    backend: str,
) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[int, int, int]]:
    if world:
        raise NotImplementedError(WORLD_UNDER_VMAP)
    size = info.batch_size
    value, packed, losses = cross_entropy(
        fold(logits, in_dims[0], size),
        fold(target, in_dims[1], size),
        _shared(weight, in_dims[2]),
        ignore_index,
        label_smoothing,
        p,
        fraction,
        least,
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
    ignore_index: int,
    label_smoothing: float,
    p: float,
    backend: str,
) -> tuple[Tensor, int]:
    size = info.batch_size
    grad: Tensor = cross_entropy_backward(
        fold(grad_value, in_dims[0], size),
        fold(logits, in_dims[1], size),
        fold(target, in_dims[2], size),
        _shared(weight, in_dims[3]),
        fold(losses, in_dims[4], size),
        fold_columns(packed, in_dims[5], size),
        ignore_index,
        label_smoothing,
        p,
        backend,
    )
    return grad.reshape(size, -1, *grad.shape[1:]), 0


def _shared(weight: Tensor | None, dim: int | None) -> Tensor | None:
    if weight is not None and dim is not None:
        raise NotImplementedError(
            "class weights that differ along a vmapped dimension are not supported: call the loss "
            "once per set of weights."
        )
    return weight
