"""The solver as ``torch.library`` operators: one opaque node each to the compiler.

``lossmaxpool::pool`` maps losses to one value per row and the packed threshold;
``lossmaxpool::weigh`` gives w* from the same losses and that threshold. ``gradient`` makes them
differentiable.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossmaxpool.ops.inputs import refuse_negative
from lossmaxpool.ops.solver.ranks import wide
from lossmaxpool.ops.solver.rows import solve_rows, weigh_rows
from lossmaxpool.ops.solver.threshold import Threshold
from lossmaxpool.ops.weighting_set import WeightingSet

WORLD_UNDER_VMAP = (
    'pool="world" does not run under vmap: every call is a collective over the ranks. '
    'Use pool="batch" or "image" inside vmap.'
)


@torch.library.custom_op("lossmaxpool::pool", mutates_args=())
def pool(
    losses: Tensor,
    valid: Tensor | None,
    p: float,
    fraction: float,
    least: float,
    world: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """(B, N) losses -> (B,) values in their dtype, (6, B) threshold (see ``threshold.unpack``)."""
    packed = solve_rows(
        losses, valid, WeightingSet(p, fraction, least), world=world, backend=backend
    )
    value = packed[0].to(losses.dtype, copy=True)
    # A negative loss made its pool NaN: only then is it worth looking for. On a GPU the look would
    # synchronise; in the world it would leave the other ranks waiting.
    if losses.device.type == "cpu" and not world and bool(value.isnan().any()):
        refuse_negative(losses, valid)
    return value, packed


@pool.register_fake
def _(
    losses: Tensor,
    valid: Tensor | None,
    p: float,
    fraction: float,
    least: float,
    world: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    rows = losses.shape[0]
    return losses.new_empty(rows), packed_like(losses, rows)


@torch.library.custom_op("lossmaxpool::weigh", mutates_args=())
def weigh(
    losses: Tensor,
    valid: Tensor | None,
    packed: Tensor,
    p: float,
    fraction: float,
    least: float,
    backend: str,
) -> Tensor:
    """(B, N) losses and the threshold of :func:`pool` -> (B, N) weights w*."""
    return weigh_rows(losses, valid, packed, WeightingSet(p, fraction, least), backend=backend)


@weigh.register_fake
def _(
    losses: Tensor,
    valid: Tensor | None,
    packed: Tensor,
    p: float,
    fraction: float,
    least: float,
    backend: str,
) -> Tensor:
    return torch.empty_like(losses, memory_format=torch.contiguous_format)


def packed_like(losses: Tensor, rows: int) -> Tensor:
    """An empty (6, rows) threshold for the losses: what the compiler is told of one."""
    return losses.new_empty(len(Threshold._fields), rows, dtype=wide(losses.device))


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
    backend: str,
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    if world:
        raise NotImplementedError(WORLD_UNDER_VMAP)
    size = info.batch_size
    rows, mask = fold(losses, in_dims[0], size), _fold_mask(valid, in_dims[1], size)
    value, packed = pool(rows, mask, p, fraction, least, world, backend)
    return (value.unflatten(0, (size, -1)), packed.unflatten(1, (size, -1))), (0, 1)


@weigh.register_vmap
def _(
    info: Any,
    in_dims: tuple[int | None, ...],
    losses: Tensor,
    valid: Tensor | None,
    packed: Tensor,
    p: float,
    fraction: float,
    least: float,
    backend: str,
) -> tuple[Tensor, int]:
    size = info.batch_size
    rows, mask = fold(losses, in_dims[0], size), _fold_mask(valid, in_dims[1], size)
    packed = fold_columns(packed, in_dims[2], size)
    return weigh(rows, mask, packed, p, fraction, least, backend).unflatten(0, (size, -1)), 0


def fold(x: Tensor, dim: int | None, size: int) -> Tensor:
    """A vmapped (B, ...) operand as (size * B, ...): pools never look beyond their images."""
    stacked = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
    return stacked.flatten(0, 1)


def fold_columns(packed: Tensor, dim: int | None, size: int) -> Tensor:
    """A vmapped (6, R) threshold as (6, size * R)."""
    if dim is None:
        stacked = packed.unsqueeze(1).expand(-1, size, -1)
    else:
        stacked = packed.movedim(dim, 1)
    return stacked.flatten(1, 2)


def _fold_mask(valid: Tensor | None, dim: int | None, size: int) -> Tensor | None:
    return None if valid is None else fold(valid, dim, size)
