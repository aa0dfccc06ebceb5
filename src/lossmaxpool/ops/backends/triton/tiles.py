"""How many classes and pixels a program takes at once: a function of (C, dtype) alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from lossmaxpool.ops.backends.planes import Planes


class Tile(NamedTuple):
    """A block of classes by pixels, and the warps that share it."""

    classes: int  # a power of two
    full: int  # the classes that blocks of `classes` cover; the rest is the tail
    tail: int  # a power of two >= C - full, or 0
    pixels: int
    warps: int


class Block(NamedTuple):
    """A block of classes by pixels or cells of the upsampling kernels."""

    classes: int
    pixels: int
    warps: int


# A pixel a thread, 8 interpolated classes in flight: 96 registers, where two pixels take 174.
UPSAMPLED = Block(8, 128, 4)
# A cell a thread, 8 classes with four corner logits and four corner sums each: 178 registers. With
# 16 they spill.
CELLS = Block(8, 128, 4)


def unit_of(view: Planes) -> int:
    """The largest power of two up to 16 that divides every plane's size and place.

    The compiler knows of an argument only whether 16 divides it. Planes of 550 x 550 pixels start
    at multiples of 4: with their sizes counted in units, it may read 4 at a time.
    """
    if not view.flat or any(s.column != 1 for s in view.strides):
        return 1
    places = (size for s in view.strides for size in (s.image, s.channel))
    return math.gcd(16, view.width, *places)


def dense_tile(classes: int, dtype: torch.dtype, unit: int) -> Tile:
    """The tile of the kernels that stream dense logits.

    A thread reads up to 16 bytes along the pixels and keeps all classes of a block for them, so
    that no maximum or sum leaves it: pixels = 32 lanes x pixels a thread x warps. The block is as
    many classes as keep up to 64 numbers a thread in flight. What is left of C is a smaller block:
    C = 19 costs 16 + 4 rows of arithmetic, not 32.

    Args:
        classes: C.
        dtype: of the logits.
        unit: how many neighbouring pixels the layout lets a thread read at once.
    """
    vector = min(16 // dtype.itemsize, unit)
    warps = 4 if vector <= 4 else 2
    block = min(16, 64 // vector, _power_of_two(classes))
    full = classes // block * block
    left = classes - full
    return Tile(block, full, _power_of_two(left) if left else 0, 32 * vector * warps, warps)


def _power_of_two(x: int) -> int:
    """The smallest power of two that is at least ``x``."""
    return 1 << (x - 1).bit_length()
