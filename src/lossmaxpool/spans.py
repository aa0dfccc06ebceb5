"""Where a crop lies along one axis of an image: pure arithmetic, the same for rows and columns."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """One axis of a crop: ``length`` source pixels from ``start`` on become ``output`` pixels.

    They lie after ``padding`` pixels that show nothing; the rest of the crop shows nothing either.
    """

    start: int
    length: int
    padding: int
    output: int


def random_span(
    length: int, crop: int, scale: float, draw: float, place: int | None = None
) -> Span:
    """A crop along one axis of an image that is scaled, uniform among those that contain a place.

    A crop of the scaled image shows ``round(crop / scale)`` pixels of the source. Where the source
    has as many, the crop lies inside; the whole pixels at which it may start and still contain
    ``place`` are equally likely. Where the source has fewer, the crop shows all of them, hence the
    place, and the scaled image lies at any place of the crop with the same probability.

    Args:
        length: Pixels of the source.
        crop: Pixels of the crop.
        scale: Pixels of the scaled image per pixel of the source.
        draw: A number in [0, 1) that decides where the crop lies.
        place: The source pixel to contain, in [0, length); None for a crop anywhere.

    Returns:
        What to cut, and where to put it in the crop.

    Raises:
        ValueError: The place is not in the image.

    Example:
        >>> random_span(100, crop=10, scale=0.5, draw=0.999, place=7)
        Span(start=7, length=20, padding=0, output=10)
    """
    if place is not None and not 0 <= place < length:
        raise ValueError(f"place is {place}: expected a pixel of the image, 0 to {length - 1}")
    shown = max(1, round(crop / scale))
    if shown > length:
        output = min(crop, max(1, round(length * scale)))
        return Span(0, length, int(draw * (crop - output + 1)), output)
    first, last = 0, length - shown
    if place is not None:
        first, last = max(first, place - shown + 1), min(last, place)
    return Span(first + int(draw * (last - first + 1)), shown, 0, crop)
