"""A pinhole camera above a flat street, looking along it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NEAR = 1.2
"""Nothing is drawn nearer than this, in metres."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Camera:
    """World: x to the right, y up from the ground, z forward, in metres.

    Attributes:
        height: rows of the picture.
        width: columns of the picture.
        focal: in pixels.
        vanishing: column of the street's vanishing point.
        horizon: row of the horizon.
        altitude: of the camera above the ground.
    """

    height: int
    width: int
    focal: float
    vanishing: float
    horizon: float
    altitude: float

    def project(self, x: float, y: float, z: float) -> Point:
        """Column and row of a point."""
        scale = self.focal / (z if z > NEAR else NEAR)
        return self.vanishing + scale * x, self.horizon + scale * (self.altitude - y)

    def outline(self, points: Iterable[tuple[float, float, float]]) -> list[Point]:
        """Columns and rows of several points."""
        return [self.project(x, y, z) for x, y, z in points]

    def scale(self, z: float) -> float:
        """Pixels per metre at a distance."""
        return self.focal / max(z, NEAR)


def draw_camera(rng: np.random.Generator, height: int, width: int) -> Camera:
    """A camera on a car or held by a pedestrian, turned a little."""
    return Camera(
        height=height,
        width=width,
        focal=width * rng.uniform(0.78, 1.0),
        vanishing=width * rng.uniform(0.34, 0.66),
        horizon=height * rng.uniform(0.45, 0.57),
        altitude=rng.uniform(1.35, 2.0),
    )
