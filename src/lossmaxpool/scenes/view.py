"""Rendering of a street: the camera, the lighting, textures, and the brush that draws.

A scene must be the same on every machine. So powers and exponentials, whose last bit depends on the
instruction set, are computed in float64 and rounded to float32; the rest is IEEE arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, cos, exp, radians, sin
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lossmaxpool.scenes.layout import Object

# Pictures are float32 and planar, (3, H, W): NumPy is slow along a last axis of three.
Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.uint8]
RGB = tuple[float, float, float]
Color = tuple[int, int, int]
Point = tuple[float, float]
Label = int | None

NEAR = 1.2  # nothing is drawn nearer, in meters
TILE = 256


@cache
def tile(roughness: float) -> Floats:
    """Seamless texture (256, 256) of mean 0, standard deviation 1 and spectrum 1/f^roughness."""
    rng = np.random.default_rng(int(1000 * roughness))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) * frequency**-roughness
    texture = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return np.asarray((texture - texture.mean()) / texture.std(), np.float32)


def sample(roughness: float, y: Floats, x: Floats) -> Floats:
    """Sample a texture at coordinates, which broadcast against each other."""
    rows, columns = (place.astype(np.int32) & (TILE - 1) for place in (y, x))
    return np.asarray(np.take(tile(roughness).ravel(), rows * TILE + columns))


def channels(values: Sequence[float] | Floats) -> Floats:
    """A color as (3, 1, 1) float32, which broadcasts over a planar picture."""
    return np.array(values, dtype=np.float32).reshape(3, 1, 1)


def centers(first: int, last: int) -> Floats:
    """The centers of the pixels from first up to, excluding, last, float32."""
    return np.asarray(np.arange(first, last, dtype=np.float32) + np.float32(0.5))


def dim(color: RGB, share: float) -> RGB:
    """A color made darker."""
    return color[0] * share, color[1] * share, color[2] * share


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above a flat street: x to the right, y up from the ground, z forward."""

    height: int  # rows of the picture
    width: int  # columns of the picture
    focal: float  # in pixels
    vanishing: float  # column of the street's vanishing point
    horizon: float  # row
    altitude: float  # above the ground

    def scale(self, z: float) -> float:
        """Pixels per meter at a distance."""
        return self.focal / (z if z > NEAR else NEAR)

    def project(self, x: float, y: float, z: float) -> Point:
        """Column and row of a point."""
        scale = self.scale(z)
        return self.vanishing + scale * x, self.horizon + scale * (self.altitude - y)

    def outline(self, points: Iterable[RGB]) -> list[Point]:
        """Columns and rows of several points (x, y, z)."""
        return [self.project(x, y, z) for x, y, z in points]

    def curtain(
        self, x: float, z1: float, z2: float, height: float
    ) -> tuple[int, int, Floats, Floats] | None:
        """The part of the picture that shows an upright plane along the street, or None.

        It has a first column and row, the distance of its columns (1, w), and the height above the
        ground of its pixels (h, w).
        """
        ends = sorted(self.project(x, 0, z)[0] for z in (z1, z2))
        first, last = (min(max(ceil(end - 0.5), 0), self.width) for end in ends)
        if first >= last:
            return None
        z = (self.focal * x / (centers(first, last) - self.vanishing))[None, :]
        meters = z / self.focal
        top = int(max(0, (self.horizon - (height - self.altitude) / meters).min()))
        bottom = int(min(self.height, (self.horizon + self.altitude / meters).max() + 1))
        y = self.altitude - (centers(top, bottom)[:, None] - self.horizon) * meters
        return (first, top, z, y) if bottom > top else None


def draw_camera(rng: np.random.Generator, height: int, width: int) -> Camera:
    """A random camera on a car or held by a pedestrian, slightly rotated."""
    focal, vanishing = width * rng.uniform(0.78, 1.0), width * rng.uniform(0.34, 0.66)
    horizon, altitude = height * rng.uniform(0.45, 0.57), rng.uniform(1.35, 2.0)
    return Camera(height, width, focal, vanishing, horizon, altitude)


@dataclass(frozen=True)
class Light:
    """Weather and time of day, which convert an albedo of 0..255 to a color."""

    zenith: RGB  # color of the sky overhead
    horizon: RGB  # color of the sky at the horizon
    ambient: RGB  # share of an albedo seen in shadow
    sun: RGB  # light of the sun on a surface that faces it
    elevation: float  # of the sun, in degrees
    haze: RGB  # color of the haze
    density: float  # of the haze, per meter
    clouds: float  # coverage of the sky: 0 is clear, 1 is overcast
    lamps: bool = False  # whether windows and lamps are lit
    direction: RGB = (0.0, 1.0, 0.0)  # unit vector towards the sun: right, up, forward

    def facing(self, normal: RGB) -> float:
        """The cosine between a unit normal and the sun, or 0 without direct sunlight."""
        return max(0.0, sum(n * d for n, d in zip(normal, self.direction, strict=True)))

    def on(self, normal: RGB, shadow: float = 0.0) -> Floats:
        """Light on a surface with a unit normal: (3, 1, 1) factors of its albedo."""
        share = self.facing(normal) * (1 - shadow)
        return channels([a + s * share for a, s in zip(self.ambient, self.sun, strict=True)])

    def haze_over(self, colors: Floats, distance: Floats | float) -> Floats:
        """Fade colors (3, rows, columns) to the haze, in place."""
        clear = np.exp(np.asarray(distance, np.float64) * -self.density).astype(np.float32)
        colors *= clear
        colors += (1 - clear) * channels(self.haze)
        return colors

    def paint(self, albedo: RGB, distance: float, facing: float, shadow: float) -> Color:
        """The color of a small surface."""
        clear, share = exp(-self.density * distance), facing * (1 - shadow)
        light = zip(albedo, self.ambient, self.sun, self.haze, strict=True)
        red, green, blue = (
            min(255, int(clear * own * (ambient + sun * share) + (1 - clear) * haze))
            for own, ambient, sun, haze in light
        )
        return red, green, blue


# fmt: off
_CLEAR = Light((88, 142, 210), (190, 213, 232), (0.58, 0.62, 0.70), (0.84, 0.79, 0.68),
               elevation=48, haze=(196, 211, 226), density=0.004, clouds=0.25)
_GOLDEN = Light((96, 128, 178), (252, 206, 150), (0.56, 0.52, 0.54), (0.92, 0.66, 0.36),
                elevation=20, haze=(240, 200, 158), density=0.007, clouds=0.4)
_OVERCAST = Light((168, 176, 186), (208, 211, 214), (0.86, 0.88, 0.90), (0.12, 0.12, 0.12),
                  elevation=60, haze=(200, 204, 208), density=0.008, clouds=0.9)
_DUSK = Light((46, 60, 104), (214, 150, 132), (0.44, 0.44, 0.56), (0.22, 0.15, 0.12),
              elevation=12, haze=(150, 126, 138), density=0.008, clouds=0.5, lamps=True)
# fmt: on
_KINDS = (_CLEAR, _CLEAR, _GOLDEN, _OVERCAST, _DUSK)


def draw_light(rng: np.random.Generator) -> Light:
    """Random weather, time of day and position of the sun."""
    kind = _KINDS[int(rng.random() * len(_KINDS))]
    azimuth = radians(rng.uniform(0, 360))
    up = radians(kind.elevation * rng.uniform(0.8, 1.2))
    direction = (sin(azimuth) * cos(up), sin(up), cos(azimuth) * cos(up))
    density, clouds = kind.density * rng.uniform(0.6, 1.5), kind.clouds * rng.uniform(0.5, 1.1)
    return replace(kind, direction=direction, density=density, clouds=clouds)


def to_image(pixels: Floats) -> Image.Image:
    """Convert a planar picture (3, H, W) of 0..255 to an image; clips values in place."""
    levels = np.clip(pixels, 0, 255, out=pixels).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(channel) for channel in levels])


class Brush:
    """Draws shapes in the picture and the mask at once; later shapes cover earlier ones in both.

    A shape without a class changes only the picture, as a detail of the current object, which
    :meth:`take` sets: its position, light and randomness serve the other methods.
    """

    thing: Object
    rng: Random
    shadow: float  # on the object: 0 in the sun, 1 in shadow
    scale: float  # pixels per meter at its distance
    x: float  # column of the object
    ground: float  # row of the object

    def __init__(self, pixels: Floats, ids: Ids, camera: Camera, light: Light) -> None:
        self.camera, self.light = camera, light
        self.picture, self.mask = to_image(pixels), Image.fromarray(ids)
        self._ink, self.mask_ink = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.mask)

    def take(self, thing: Object, shadow: float) -> None:
        """Set the current object."""
        self.thing, self.shadow, self.rng = thing, shadow, Random(thing.seed)
        self.scale = self.camera.scale(thing.z)
        self.x, self.ground = self.camera.project(thing.x, 0, thing.z)

    def paint(self, albedo: RGB, facing: float = 0.5) -> Color:
        """The color of a surface of the object."""
        return self.light.paint(albedo, self.thing.z, facing, self.shadow)

    def _stroke(self, kind: str, shape: Any, color: Color, street: Label, **how: Any) -> None:
        getattr(self._ink, kind)(shape, fill=color, **how)
        if street is not None:
            getattr(self.mask_ink, kind)(shape, fill=street, **how)

    def polygon(self, points: Sequence[Point], color: Color, street: Label = None) -> None:
        """Draw a filled polygon."""
        self._stroke("polygon", points, color, street)

    def box(self, x1: float, y1: float, x2: float, y2: float, color: Color,
            street: Label = None) -> None:  # fmt: skip
        """Draw a filled upright rectangle of at least one pixel."""
        self._stroke("rectangle", (x1, y1, max(x1, x2), max(y1, y2)), color, street)

    def ellipse(self, center: Point, rx: float, ry: float, color: Color,
                street: Label = None) -> None:  # fmt: skip
        """Draw a filled ellipse."""
        x, y = center
        self._stroke("ellipse", (x - rx, y - ry, x + rx, y + ry), color, street)

    def ring(self, x: float, y: float, rx: float, ry: float, width: int, color: Color) -> None:
        """Draw the outline of an ellipse, in the picture only."""
        self._ink.ellipse((x - rx, y - ry, x + rx, y + ry), outline=color, width=max(1, width))

    def line(self, points: Sequence[Point], width: float, color: Color,
             street: Label = None) -> None:  # fmt: skip
        """Draw a line at least one pixel wide."""
        self._stroke("line", points, color, street, width=max(1, round(width)))

    def paste(self, left: int, top: int, pixels: Floats, shape: NDArray[np.bool_],
              street: int) -> None:  # fmt: skip
        """Draw pixels (3, h, w) where a shape (h, w) is true."""
        stencil = Image.fromarray(shape.view(np.uint8) * np.uint8(255))
        self.picture.paste(to_image(pixels), (left, top), stencil)
        box = (left, top, left + shape.shape[1], top + shape.shape[0])
        self.mask.paste(street, box, stencil)
