"""The solver as ``torch.library`` operators: opaque to the compiler, differentiable once.

``lossmaxpool::pool`` maps losses to one value per row and the packed threshold;
``lossmaxpool::weigh`` gives w* from the same losses and that threshold. The gradient of the value
with respect to the losses is w* (envelope theorem), recomputed in the backward pass: only the
losses are kept, never a weight map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossmaxpool.solver.ranks import ranks, wide
from lossmaxpool.solver.soundness import refuse_negative
from lossmaxpool.solver.threshold import Threshold, find_threshold
from lossmaxpool.solver.weights import optimal_weights


@torch.library.custom_op("lossmaxpool::pool", mutates_args=())
def pool(
    losses: Tensor, valid: Tensor | None, p: float, fraction: float, least: float, world: bool
) -> tuple[Tensor, Tensor]:
    """(B, N) losses -> (B,) values in their dtype, (6, B) threshold (see :func:`unpack`)."""
    if losses.device.type == "cpu" and not world:
        # On a GPU this look would synchronise; in the world it would leave the other ranks waiting.
        refuse_negative(losses, valid)
    threshold = find_threshold(
        losses, valid, p=p, fraction=fraction, least=least, ranks=ranks(world)
    )
    return threshold.value.to(losses.dtype), torch.stack(threshold)


@pool.register_fake
def _(
    losses: Tensor, valid: Tensor | None, p: float, fraction: float, least: float, world: bool
) -> tuple[Tensor, Tensor]:
    rows = losses.shape[0]
    packed = losses.new_empty(len(Threshold._fields), rows, dtype=wide(losses.device))
    return losses.new_empty(rows), packed


@torch.library.custom_op("lossmaxpool::weigh", mutates_args=())
def weigh(losses: Tensor, valid: Tensor | None, packed: Tensor, p: float) -> Tensor:
    """(B, N) losses and the threshold of :func:`pool` -> (B, N) weights w*."""
    return optimal_weights(losses, valid, unpack(packed), p=p)


@weigh.register_fake
def _(losses: Tensor, valid: Tensor | None, packed: Tensor, p: float) -> Tensor:
    return torch.empty_like(losses, memory_format=torch.contiguous_format)


def unpack(packed: Tensor) -> Threshold:
    """The threshold from the (6, B) tensor that :func:`pool` returned."""
    return Threshold(*packed.unbind(0))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    losses, valid, p, _, _, world = inputs
    packed = output[1]
    ctx.save_for_backward(losses, valid, packed)
    ctx.p = p
    ctx.world = world


def _gradient(ctx: Any, grad_value: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    losses, valid, packed = ctx.saved_tensors
    weights = weigh(losses, valid, packed, ctx.p)
    # Gradients are averaged over ranks afterwards: the sum over ranks is the true one.
    scale = grad_value.unsqueeze(1) * ranks(ctx.world).size
    return weights * scale, None, None, None, None, None


def _refuse_second_derivative(ctx: Any, grad_weights: Tensor) -> tuple[None, ...]:
    raise NotImplementedError(
        "loss max-pooling has no second derivative here: w* was differentiated with respect to "
        "the losses (create_graph=True, gradgradcheck, a Hessian or a gradient penalty through "
        "this loss). Take the second derivative of the pixel losses with the weights detached: "
        "(solve(losses.detach()).weights * losses).sum()."
    )


pool.register_autograd(_gradient, setup_context=_remember)
weigh.register_autograd(_refuse_second_derivative)


@pool.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    losses: Tensor,
    valid: Tensor | None,
    p: float,
    fraction: float,
    least: float,
    world: bool,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    if world:
        raise NotImplementedError(
            'pool="world" does not run under vmap: every call is a collective over the ranks. '
            'Use pool="batch" or "image" inside vmap.'
        )
    size = info.batch_size
    losses, valid = _rows(losses, in_dims[0], size), _rows(valid, in_dims[1], size)
    value, packed = pool(losses, valid, p, fraction, least, world)
    return (value.unflatten(0, (size, -1)), packed.unflatten(1, (size, -1))), (0, 1)


@weigh.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    losses: Tensor,
    valid: Tensor | None,
    packed: Tensor,
    p: float,
) -> tuple[Tensor, int]:
    size = info.batch_size
    losses, valid = _rows(losses, in_dims[0], size), _rows(valid, in_dims[1], size)
    packed = (
        packed.unsqueeze(1).expand(-1, size, -1)
        if in_dims[2] is None
        else (packed.movedim(in_dims[2], 1))
    )
    return weigh(losses, valid, packed.flatten(1, 2), p).unflatten(0, (size, -1)), 0


def _rows(x: Tensor | None, dim: int | None, size: int) -> Tensor | None:
    """A vmapped (B, N) operand as (size * B, N) rows: pools never look beyond their row."""
    if x is None:
        return None
    stacked = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
    return stacked.flatten(0, 1)
