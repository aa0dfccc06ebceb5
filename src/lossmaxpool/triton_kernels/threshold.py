"""Losses to thresholds: brackets, Newton's steps, and the value, a launch each.

No launch waits for another within itself: every program of a launch adds up, in one fixed order,
what the programs of the launch before left, so nothing depends on which of them came last.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossmaxpool.triton_kernels.bracket import BINS, SHIFTS, STATISTICS, bracket_kernel, passes
from lossmaxpool.triton_kernels.devices import on_device_of
from lossmaxpool.triton_kernels.newton import FIELDS, finish_kernel, newton_kernel
from lossmaxpool.triton_kernels.pool_pixels import BLOCK, WARPS, shares
from lossmaxpool.triton_kernels.precision import split

# The host does not wait, so it cannot stop when all rows have settled. Six are twice what the
# hardest loss maps need; a row that has not settled keeps an alpha above alpha*: its weights are
# feasible, its value a lower bound.
_STEPS = 6


def find_threshold(
    losses: Tensor, valid: Tensor | None, p: float, fraction: float, least: float, marked: bool
) -> Tensor:
    """The (6, R) packed threshold of (R, N) contiguous float32 losses, for p > 1."""
    rows, pixels = losses.shape
    device = losses.device
    packed = torch.empty(6, rows, dtype=torch.float64, device=device)
    if rows == 0:
        return packed
    q = 1.0 if math.isinf(p) else p / (p - 1)
    share = shares(rows, pixels)
    brackets = passes(q)
    left = (rows, share.programs)
    counts = torch.empty(brackets, *left, BINS.value, dtype=torch.int32, device=device)
    statistics = torch.empty(brackets, *left, STATISTICS.value, dtype=torch.float64, device=device)
    steps = torch.empty(_STEPS, *left, FIELDS.value, dtype=torch.float64, device=device)
    numbers = (*split(fraction), *split(least), *split(q))
    options = {"MASKED": valid is not None, "MARKED": marked, "BLOCK": BLOCK, "GP": share.padded}
    grid = (share.programs * rows,)  # the second axis of a grid ends at 65535
    with on_device_of(losses):
        for i in range(brackets):
            last = max(i - 1, 0)
            bracket_kernel[grid](
                losses, valid, statistics[0], counts[last], statistics[last], counts[i],
                statistics[i], pixels, *numbers, share.programs,
                LAST_SHIFT=SHIFTS[last], SHIFT=SHIFTS[i], PASS=i, num_warps=WARPS, **options,
            )  # fmt: skip
        for i in range(_STEPS):
            newton_kernel[grid](
                losses, valid, statistics[0], counts[-1], statistics[-1], steps[max(i - 1, 0)],
                steps[i], pixels, *numbers, share.programs,
                LAST_SHIFT=SHIFTS[brackets - 1], FIRST=i == 0, num_warps=WARPS, **options,
            )  # fmt: skip
        finish_kernel[(rows,)](
            statistics[0], steps[-1], packed, rows, *numbers, *split(1 / p),
            share.programs, GP=share.padded, num_warps=1,
        )  # fmt: skip
    return packed
