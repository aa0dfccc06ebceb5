"""Any strides as planes of at most two dimensions: what the kernels index, without a copy."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


class Strides(NamedTuple):
    """Of one tensor, in elements."""

    image: int
    channel: int
    row: int
    column: int


class Planes(NamedTuple):
    """Tensors of one shape (B, C, *spatial), seen as B x C planes of height x width."""

    height: int
    width: int
    strides: tuple[Strides, ...]  # one per tensor

    @property
    def flat(self) -> bool:
        """One row: the pixel's number times the column stride is its place."""
        return self.height == 1

    @property
    def unit(self) -> int:
        """The largest power of two up to 16 that divides every plane's size and place.

        The compiler knows of an argument only whether 16 divides it. Planes of 550 x 550 pixels
        start at multiples of 4: with their sizes counted in units, it may read 4 at a time.
        """
        if not self.flat or any(s.column != 1 for s in self.strides):
            return 1
        places = (size for s in self.strides for size in (s.image, s.channel))
        return math.gcd(16, self.width, *places)


def planes(*tensors: Tensor) -> Planes | None:
    """Merge the spatial dimensions of (B, C, *spatial) tensors of one shape as far as they allow.

    Returns:
        The planes, or None where more than two dimensions are left.
    """
    shape = tensors[0].shape[2:]
    merged: list[tuple[int, list[int]]] = []
    for dim, size in enumerate(shape, start=2):
        steps = [t.stride(dim) for t in tensors]
        if size == 1:
            continue
        if merged and merged[-1][1] == [size * step for step in steps]:
            merged[-1] = (merged[-1][0] * size, steps)
        else:
            merged.append((size, steps))
    if len(merged) > 2:
        return None
    merged = [(1, [1] * len(tensors))] * (2 - len(merged)) + merged
    (height, rows), (width, columns) = merged
    strides = (
        Strides(t.stride(0), t.stride(1), row, column)
        for t, row, column in zip(tensors, rows, columns, strict=True)
    )
    return Planes(height, width, tuple(strides))


class Grid(NamedTuple):
    """One or two spatial dimensions as they are, to be upsampled."""

    height: int
    width: int
    strides: Strides


def grid(tensor: Tensor) -> Grid:
    """(B, C, h, w) or (B, C, w) as a grid."""
    if tensor.dim() == 3:
        tensor = tensor.unsqueeze(2)
    image, channel, row, column = tensor.stride()
    return Grid(tensor.shape[2], tensor.shape[3], Strides(image, channel, row, column))
