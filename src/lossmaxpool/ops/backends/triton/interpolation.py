"""Where a pixel of the upsampled size lies between the low-resolution ones, in integers.

``align_corners=False`` puts pixel o of ``out`` at ``(2 o + 1) in / (2 out) - 1 / 2`` of ``in``.
The numerator is exact, so that cells have sharp borders and the fraction is off by one rounding.
Cell j holds the pixels between low-resolution pixels j - 1 and j, for j = 0, ..., in; at both ends
the missing neighbour is the border itself. For an integer scale s, an inner cell is s x s pixels.
"""

from __future__ import annotations

from importlib.metadata import version

import triton
import triton.language as tl

# Up to Triton 3.6, of two axes that are equally contiguous the first, the classes, gets the lanes.
_LANES_ALONG_CLASSES = tuple(int(part) for part in version("triton").split(".")[:2]) < (3, 7)
HINT_LANES = tl.constexpr(_LANES_ALONG_CLASSES)


@triton.jit
def load_corner(corner, places, mask):
    """A corner's logits in float32, of pixels or of (classes, pixels); 0 where masked.

    The hint puts the lanes along the pixels. It claims two neighbors where there may be none,
    so the strides along the image must not be specialized: a load could widen only if the
    compiler knew what divides its offset.
    """
    pointers = corner + places
    if HINT_LANES and len(mask.shape) == 2:
        pointers = tl.max_contiguous(pointers, [1, 2])
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


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
