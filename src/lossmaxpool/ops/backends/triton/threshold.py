"""Losses to thresholds: brackets, Newton's steps, and the value, a launch each.

No launch waits for another within itself: every program of a launch adds up, in one fixed order,
what the programs of the launch before left, so nothing depends on which of them came last.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossmaxpool.ops.backends.triton import order
from lossmaxpool.ops.backends.triton.bracket import BINS, SHIFTS, STATISTICS, bracket_kernel, passes
from lossmaxpool.ops.backends.triton.devices import on_device_of
from lossmaxpool.ops.backends.triton.newton import FIELDS, finish_kernel, newton_kernel
from lossmaxpool.ops.backends.triton.pool_pixels import BLOCK, WARPS, shares
from lossmaxpool.ops.backends.triton.precision import split

# The host does not wait, so it cannot stop when all rows have settled. Six are twice what the
# hardest loss maps need; a row that has not settled keeps an alpha above alpha*: its weights are
# feasible, its value a lower bound.
_STEPS = 6


def find_threshold(
    losses: Tensor, valid: Tensor | None, p: float, fraction: float, least: float, marked: bool
) -> Tensor:
    """The (6, R) packed threshold of (R, N) contiguous float32 losses."""
    rows, pixels = losses.shape
    packed = torch.empty(6, rows, dtype=torch.float64, device=losses.device)
    if rows == 0:
        return packed
    share = shares(rows, pixels)
    pool = _Pool(
        losses,
        valid,
        packed,
        (*split(fraction), *split(least)),
        share.programs,
        {"MASKED": valid is not None, "MARKED": marked, "BLOCK": BLOCK, "GP": share.padded},
    )
    with on_device_of(losses):
        if p == 1:
            _order_statistic(pool)
        else:
            _root(pool, p)
    return packed


class _Pool(NamedTuple):
    """What every launch is given."""

    losses: Tensor
    valid: Tensor | None
    packed: Tensor
    size: tuple[float, ...]  # fraction and least, each as two float32 numbers
    programs: int  # of a row
    options: dict[str, Any]

    @property
    def grid(self) -> tuple[int]:
        """The second axis of a grid ends at 65535."""
        return (self.programs * len(self.losses),)

    def room(self, passes: int, numbers: int, dtype: torch.dtype) -> Tensor:
        """What the programs of some launches leave."""
        rows = len(self.losses)
        shape = (passes, rows, self.programs, numbers)
        return torch.empty(shape, dtype=dtype, device=self.losses.device)


def _root(pool: _Pool, p: float) -> None:
    losses, valid, packed, size, programs, options = pool
    pixels = losses.shape[1]
    q = 1.0 if math.isinf(p) else p / (p - 1)
    brackets = passes(q)
    counts = pool.room(brackets, BINS.value, torch.int32)
    statistics = pool.room(brackets, STATISTICS.value, torch.float64)
    steps = pool.room(_STEPS, FIELDS.value, torch.float64)
    numbers = (*size, *split(q))
    for i in range(brackets):
        last = max(i - 1, 0)
        bracket_kernel[pool.grid](
            losses, valid, statistics[0], counts[last], statistics[last], counts[i],
            statistics[i], pixels, *numbers, programs,
            LAST_SHIFT=SHIFTS[last], SHIFT=SHIFTS[i], PASS=i, num_warps=WARPS, **options,
        )  # fmt: skip
    for i in range(_STEPS):
        newton_kernel[pool.grid](
            losses, valid, statistics[0], counts[-1], statistics[-1], steps[max(i - 1, 0)],
            steps[i], pixels, *numbers, programs,
            LAST_SHIFT=SHIFTS[brackets - 1], FIRST=i == 0, num_warps=WARPS, **options,
        )  # fmt: skip
    finish_kernel[(len(losses),)](
        statistics[0], steps[-1], packed, len(losses), *numbers, *split(1 / p),
        programs, GP=options["GP"], num_warps=1,
    )  # fmt: skip


def _order_statistic(pool: _Pool) -> None:
    losses, valid, packed, size, programs, options = pool
    pixels, digits = losses.shape[1], len(order.SHIFTS)
    counts = pool.room(digits, BINS.value, torch.int32)
    statistics = pool.room(digits, STATISTICS.value, torch.float64)
    parts = pool.room(1, order.SPLIT.value, torch.float64)[0]
    bracket_kernel[pool.grid](
        losses, valid, statistics[0], counts[0], statistics[0], counts[0], statistics[0],
        pixels, *size, *split(1.0), programs,
        LAST_SHIFT=order.SHIFTS[0], SHIFT=order.SHIFTS[0], PASS=0, num_warps=WARPS, **options,
    )  # fmt: skip
    for i in range(1, digits):
        order.order_kernel[pool.grid](
            losses, valid, statistics[0], counts[i - 1], statistics[i - 1], counts[i],
            statistics[i], pixels, *size, programs,
            LAST_SHIFT=order.SHIFTS[i - 1], SHIFT=order.SHIFTS[i], FIRST=i == 1,
            num_warps=WARPS, **options,
        )  # fmt: skip
    order.order_split_kernel[pool.grid](
        losses, valid, statistics[0], counts[-1], statistics[-1], parts, pixels, *size, programs,
        num_warps=WARPS, **options,
    )  # fmt: skip
    order.order_finish_kernel[(len(losses),)](
        statistics[0], parts, packed, len(losses), *size, programs, GP=options["GP"], num_warps=1,
    )  # fmt: skip
