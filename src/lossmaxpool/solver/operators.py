"""The solver as ``torch.library`` operators: one opaque node each to the compiler.

``lossmaxpool::pool`` maps losses to one value per row and the packed threshold;
``lossmaxpool::weigh`` gives w* from the same losses and that threshold. ``gradient`` makes them
differentiable.
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
    rows, mask = _rows(losses, in_dims[0], size), _mask_rows(valid, in_dims[1], size)
    value, packed = pool(rows, mask, p, fraction, least, world)
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
    rows, mask = _rows(losses, in_dims[0], size), _mask_rows(valid, in_dims[1], size)
    packed = (
        packed.unsqueeze(1).expand(-1, size, -1)
        if in_dims[2] is None
        else (packed.movedim(in_dims[2], 1))
    )
    return weigh(rows, mask, packed.flatten(1, 2), p).unflatten(0, (size, -1)), 0


def _mask_rows(valid: Tensor | None, dim: int | None, size: int) -> Tensor | None:
    return None if valid is None else _rows(valid, dim, size)


def _rows(x: Tensor, dim: int | None, size: int) -> Tensor:
    """A vmapped (B, N) operand as (size * B, N) rows: pools never look beyond their row."""
    stacked = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
    return stacked.flatten(0, 1)
