"""How an image is cut for a network: which part a tile reads, and which part it decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: ``image[..., rows, columns]``.

    Args:
        top: first row.
        left: first column.
        height: number of rows.
        width: number of columns.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """The rows, for indexing."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """The columns, for indexing."""
        return slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Tile:
    """A part of an image that goes through the network by itself.

    Args:
        read: what the network sees.
        owned: what it decides; inside ``read``.
    """

    read: Window
    owned: Window


def full_height_tiles(
    height: int, width: int, count: int = 5, overlap: int = 0, multiple: int = 1
) -> tuple[Tile, ...]:
    """Cut an image into tiles of full height, from left to right.

    With W the width, N the number of tiles and o the overlap, tile i reads the columns
    ``b_i .. b_(i+1) + o`` where ``b_i = floor(i (W - o) / N)``, and neighbours share exactly o
    columns. The left one decides the first ``floor(o / 2)`` of them, the right one the rest. So
    each column has one owner, at every width; the widths of tiles differ by a pixel where N does
    not divide ``W - o``.

    Args:
        height: H, of the image.
        width: W, of the image.
        count: N.
        overlap: o, columns that two neighbours both read.
        multiple: tiles begin at multiples of this number. With the network's stride, its cells lie
            on the same pixels in a tile as in the whole image, and the widths differ by up to it.

    Returns:
        N tiles, from left to right.

    Raises:
        ValueError: a number is out of its range, or the image is too narrow.

    Example:
        >>> [tile.read.width for tile in full_height_tiles(1024, 2048)]
        [409, 410, 409, 410, 410]
        >>> left, right = full_height_tiles(100, 300, count=2, overlap=200)
        >>> left.read.columns, left.owned.columns
        (slice(0, 250, None), slice(0, 150, None))
        >>> right.read.columns, right.owned.columns
        (slice(50, 300, None), slice(150, 300, None))

    References:
        Rota Bulò et al. 2017, Sect. 4.1: five tiles without overlap ("efficient tiling"), and an
        overlap of 200 pixels ("optimized tiling"). The width of the latter's tiles is not given.
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} pixels has no tiles")
    if count < 1 or overlap < 0 or multiple < 1:
        raise ValueError(
            f"count is {count}, overlap {overlap}, multiple {multiple}; expected at least 1, 0, 1"
        )
    if count == 1:
        overlap = 0  # nobody to share with
    least = overlap + count * multiple
    if count > 1 and width < least:
        raise ValueError(
            f"an image {width} pixels wide is too narrow for {count} tiles that overlap by "
            f"{overlap}: at least {least} are needed; take fewer tiles, a smaller overlap, or the "
            "full image"
        )
    starts = [i * (width - overlap) // count // multiple * multiple for i in range(count)]
    ends = [*(start + overlap for start in starts[1:]), width]
    borders = [0, *(start + overlap // 2 for start in starts[1:]), width]
    return tuple(
        Tile(
            Window(0, starts[i], height, ends[i] - starts[i]),
            Window(0, borders[i], height, borders[i + 1] - borders[i]),
        )
        for i in range(count)
    )
