"""Where a pixel of the upsampled size lies between the low-resolution ones, in integers.

``align_corners=False`` puts pixel o of ``out`` at ``(2 o + 1) in / (2 out) - 1 / 2`` of ``in``.
The numerator is exact, so that cells have sharp borders and the fraction is off by one rounding.
Cell j holds the pixels between low-resolution pixels j - 1 and j, for j = 0, ..., in; at both ends
the missing neighbour is the border itself. For an integer scale s, an inner cell is s x s pixels.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def axis_cell(o, size, out):
    """The cell of pixel ``o`` along one axis of ``size`` low-resolution pixels."""
    position = (2 * o.to(tl.int64) + 1) * size - out
    return tl.where(position < 0, 0, position // (2 * out) + 1)


@triton.jit
def axis_start(cell, size, out):
    """The first pixel of a cell."""
    numerator = tl.maximum((2 * cell.to(tl.int64) - 1) * out - size, 0)
    return tl.minimum((numerator + 2 * size - 1) // (2 * size), out)


@triton.jit
def axis_fraction(o, cell, size, out):
    """How far pixel ``o`` is from neighbour ``cell - 1`` to neighbour ``cell``, in [0, 1].

    In the outer cells both are the same pixel; it is then the one that has a place in the cell.
    """
    position = (2 * o.to(tl.int64) + 1) * size - out
    inside = (position - 2 * out * (cell - 1)).to(tl.float32) / (2 * out).to(tl.float32)
    return tl.where(cell == 0, 1.0, tl.where(cell == size, 0.0, inside))


@triton.jit
def lower(cell):
    return tl.maximum(cell - 1, 0)


@triton.jit
def upper(cell, size):
    return tl.minimum(cell, size - 1)


@triton.jit
def mix(low, high, fraction):
    return (1 - fraction) * low + fraction * high
