"""What the passes over a pool's losses share: reading them, and how the pool is shared out."""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

# Losses per step of a program: 16 a thread, read 4 at a time.
BLOCK = 4096
WARPS = 8
# Enough programs to fill a GPU with one row; more only make the next pass add up more partials.
_PROGRAMS, _PER_ROW = 512, 128


class Shares(NamedTuple):
    """A fixed split of (R, N) losses: program g of a row takes blocks g, g + G, g + 2 G, ..."""

    programs: int  # G of every row
    padded: int  # the power of two above it


def shares(rows: int, pixels: int) -> Shares:
    """A function of the shape alone: the same bits on every run and every device."""
    most = min(_PER_ROW, max(8, _PROGRAMS // max(rows, 1)))
    programs = max(1, min(most, triton.cdiv(pixels, BLOCK)))
    return Shares(programs, triton.next_power_of_2(programs))


@triton.jit
def load_pixels(
    losses, valid, row, block, pixels,
    MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of a row: its losses, 0 instead of -0.0, and which of them exist.

    MASKED: ``valid`` says so. MARKED: a negative loss says so itself.
    """
    n = tl.full([], block, tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = n < pixels
    loss = tl.load(losses + row * pixels + n, mask=exists, other=0.0)
    if MASKED:
        exists = exists & (tl.load(valid + row * pixels + n, mask=exists, other=0) != 0)
    if MARKED:
        exists = exists & ~(loss < 0)  # a NaN exists
    return tl.where(loss == 0, 0.0, loss), exists
