"""Places the labels of a scatter plot so that none covers another label or a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FONT_SIZE = 12
# Advance of an average glyph of a system font over its size, on the safe side: text cannot be
# measured where no font is loaded.
_GLYPH = 0.6
_DISTANCES = (8, 13, 20, 28, 38, 50, 64)
# From this distance on a thin line ties the text to its point.
_LEADER = 14
# Beside the point first: text reads best there. Then above, below, and the diagonals.
_DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (0.7, -0.7), (0.7, 0.7), (-0.7, -0.7), (-0.7, 0.7))


@dataclass(frozen=True)
class Box:
    """A rectangle of the drawing."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def distance(self, x: float, y: float) -> float:
        """From a point to the nearest place of the rectangle."""
        return math.hypot(
            max(self.left - x, 0, x - self.right), max(self.top - y, 0, y - self.bottom)
        )

    def inside(self, other: Box) -> bool:
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )


@dataclass(frozen=True)
class Label:
    """A placed text; with `leader` it needs a line to its point, being far off or near others."""

    box: Box
    leader: bool

    @property
    def x(self) -> float:
        """Where the text starts."""
        return self.box.left

    @property
    def baseline(self) -> float:
        """Where the text stands."""
        return self.box.bottom - 0.28 * FONT_SIZE


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """An upper estimate of the width of a text."""
    return _GLYPH * size * len(text)


def apart(heights: Sequence[float], lowest: float, step: float = 16) -> list[float]:
    """Heights of names in a column, moved apart where they are closer than ``step``.

    Args:
        heights: Where the names belong, from the highest to the lowest; y grows downwards.
        lowest: What is pushed out below this pushes the others up again.
        step: From one name to the next.

    Example:
        >>> apart([10, 96, 98], lowest=100)
        [10, 84, 100]
    """
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + step) if places else height)
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], lowest)
        lowest = places[i] - step
    return places


def place(
    texts: Sequence[str],
    points: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    bounds: Box,
) -> list[Label | None]:
    """Places one text near each point, the first ones first; None where no room is left."""
    placed: list[Box] = []
    labels: list[Label | None] = []
    for text, point in zip(texts, points, strict=True):
        others = [other for other in points if other != point]
        free = [
            (distance, box)
            for distance in _DISTANCES
            for box in (_box(text, *point, distance, way) for way in _DIRECTIONS)
            if box.inside(bounds) and not any(map(box.overlaps, [*placed, *obstacles]))
        ]
        # Close by and clearly this point's; else far enough for a line; else whatever is left.
        close = [box for distance, box in free if distance < _LEADER]
        own = [Label(box, leader=False) for box in close if _belongs(box, point, others)]
        far = [Label(box, leader=True) for distance, box in free if distance >= _LEADER]
        rest = [Label(box, leader=True) for box in close]
        label = next(iter([*own, *far, *rest]), None)
        if label:
            placed.append(label.box)
        labels.append(label)
    return labels


def _belongs(box: Box, point: tuple[float, float], others: Sequence[tuple[float, float]]) -> bool:
    """Whether a reader takes the text for this point's: it stands clearly nearest to it."""
    own = box.distance(*point)
    return all(box.distance(*other) > 1.5 * own for other in others)


def _box(text: str, x: float, y: float, distance: float, way: tuple[float, float]) -> Box:
    width, height = text_width(text), 1.15 * FONT_SIZE
    across, down = way
    # The near edge of the text, not its centre, keeps the distance to the point.
    center_x = x + across * distance + (width / 2 if across > 0 else -width / 2 if across else 0)
    center_y = y + down * distance + 0.5 * height * down
    return Box(
        center_x - width / 2, center_y - height / 2, center_x + width / 2, center_y + height / 2
    )
