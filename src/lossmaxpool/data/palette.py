"""Pascal VOC's colours: the bits of an id dealt out to red, green and blue."""

from __future__ import annotations


def palette_color(index: int) -> tuple[int, int, int]:
    """The colour of one id, distinct for every id of a byte.

    Args:
        index: 0..255.

    Returns:
        Red, green, blue of 0..255.

    Example:
        >>> palette_color(1), palette_color(15)
        ((128, 0, 0), (192, 128, 128))
    """
    channels = [0, 0, 0]
    for bit in range(8):
        # Bits 0, 3, 6 go to red, from its highest bit downwards; 1, 4, 7 to green; 2, 5 to blue.
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
