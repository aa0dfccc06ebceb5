"""Drawing the picture and the mask in one stroke."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lossmaxpool.data.streets.camera import Point
from lossmaxpool.data.streets.classes import Street
from lossmaxpool.data.streets.noise import Floats

Color = tuple[int, int, int]


def _picture(pixels: Floats) -> Image.Image:
    levels = np.clip(pixels, 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(channel) for channel in levels])


class Canvas:
    """A picture and its mask; later strokes cover earlier ones in both.

    A stroke without a class changes the picture alone: a detail of what was drawn before.

    Args:
        pixels: (3, H, W) of 0..255, clipped where they exceed it.
        ids: (H, W) uint8.
    """

    def __init__(self, pixels: Floats, ids: NDArray[np.uint8]) -> None:
        self.picture = _picture(pixels)
        self.mask = Image.fromarray(ids)
        self._ink = ImageDraw.Draw(self.picture)
        self._ids = ImageDraw.Draw(self.mask)

    def polygon(self, points: Sequence[Point], color: Color, street: Street | None = None) -> None:
        """A filled polygon."""
        self._ink.polygon(points, fill=color)
        if street is not None:
            self._ids.polygon(points, fill=int(street))

    def fill_mask(self, points: Sequence[Point], street: Street) -> None:
        """A filled polygon of the mask alone."""
        self._ids.polygon(points, fill=int(street))

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        color: Color,
        street: Street | None = None,
    ) -> None:
        """A filled upright rectangle of at least one pixel."""
        corners = (left, top, max(left, right), max(top, bottom))
        self._ink.rectangle(corners, fill=color)
        if street is not None:
            self._ids.rectangle(corners, fill=int(street))

    def ellipse(
        self,
        center: Point,
        radius_x: float,
        radius_y: float,
        color: Color,
        street: Street | None = None,
    ) -> None:
        """A filled ellipse."""
        x, y = center
        corners = (x - radius_x, y - radius_y, x + radius_x, y + radius_y)
        self._ink.ellipse(corners, fill=color)
        if street is not None:
            self._ids.ellipse(corners, fill=int(street))

    def ring(
        self, center: Point, radius_x: float, radius_y: float, width: int, color: Color
    ) -> None:
        """The outline of an ellipse, in the picture alone."""
        x, y = center
        corners = (x - radius_x, y - radius_y, x + radius_x, y + radius_y)
        self._ink.ellipse(corners, outline=color, width=max(1, width))

    def line(
        self, points: Sequence[Point], width: float, color: Color, street: Street | None = None
    ) -> None:
        """A line of at least one pixel's width."""
        thick = max(1, round(width))
        self._ink.line(points, fill=color, width=thick)
        if street is not None:
            self._ids.line(points, fill=int(street), width=thick)

    def paste(
        self,
        left: int,
        top: int,
        pixels: Floats,
        shape: NDArray[np.bool_],
        street: Street,
    ) -> None:
        """Pixels (3, h, w) where a shape (h, w) is true."""
        stencil = Image.fromarray(shape.astype(np.uint8) * 255)
        self.picture.paste(_picture(pixels), (left, top), stencil)
        self.mask.paste(
            int(street), (left, top, left + shape.shape[1], top + shape.shape[0]), stencil
        )
