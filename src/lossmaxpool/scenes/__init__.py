"""Generated street scenes: a picture and its mask from a random generator."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lossmaxpool.scenes import roadside, traffic
from lossmaxpool.scenes.ground import cast_shadows, paint_ground, paint_sky
from lossmaxpool.scenes.houses import draw_houses
from lossmaxpool.scenes.layout import COLORS, NAMES, Object, Street, Thing, draw_scene
from lossmaxpool.scenes.view import NEAR, Brush, Camera, Floats, draw_camera, draw_light

__all__ = ["COLORS", "NAMES", "render"]

_SUPERSAMPLING = 2

_DRAW: dict[Thing, Callable[[Brush], None]] = {
    "car": traffic.draw_car,
    "person": traffic.draw_person,
    "rider": traffic.draw_rider,
    **roadside.DRAW,
}


def render(
    rng: np.random.Generator, height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one street scene, determined by the generator alone.

    All objects in the street are in front of the houses, so sky, ground and houses are drawn first
    and the rest from far to near.

    Args:
        rng: The only source of randomness.
        height: Of the picture in pixels.
        width: Of the picture in pixels.

    Returns:
        Picture (H, W, 3) uint8 and mask (H, W) uint8 of indices of ``NAMES``, 255 where unlabeled.
    """
    camera = draw_camera(rng, height * _SUPERSAMPLING, width * _SUPERSAMPLING)
    light, scene = draw_light(rng), draw_scene(rng)
    pixels = np.empty((3, camera.height, camera.width), dtype=np.float32)
    ids = np.full(pixels.shape[1:], Street.SKY, dtype=np.uint8)
    paint_sky(pixels, camera, light, scene.seed)
    shadow = cast_shadows(camera, scene, light)
    paint_ground(pixels, ids, camera, scene, light, shadow)
    brush = Brush(pixels, ids, camera, light)
    draw_houses(brush, scene)
    for thing in scene.objects:
        if thing.z > NEAR or thing.length:
            brush.take(thing, _shadow_on(thing, camera, shadow))
            _DRAW[thing.thing](brush)
    mask = np.array(brush.mask)[::_SUPERSAMPLING, ::_SUPERSAMPLING].copy()
    return _photograph(brush.picture, rng), mask


def _shadow_on(thing: Object, camera: Camera, shadow: Floats) -> float:
    """The shadow that covers an object: the one on the ground beside it."""
    # Sample it towards the middle of the street: the object's own shadow is at its foot.
    column, row = camera.project(thing.x - thing.side * 0.9, 0, thing.z + 0.4)
    inside = 0 <= column < camera.width and 0 <= row < camera.height
    return float(shadow[int(row), int(column)]) if inside else 0.0


def _photograph(view: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Simulate a camera: exposure, blur, noise and compression."""
    picture = view.reduce(_SUPERSAMPLING)
    blur = rng.uniform(0.0, 0.55)
    if blur > 0.2:
        picture = picture.filter(ImageFilter.BoxBlur(blur))
    # Process rows of all channels together: NumPy is slow along a last axis of length 3.
    pixels = np.asarray(picture).reshape(picture.height, -1)
    balance = rng.normal(1.0, 0.015, 3).astype(np.float32) * np.float32(rng.uniform(0.95, 1.15))
    exposed = pixels * np.tile(balance, picture.width)
    # The sum of two uniform bytes is a cheap approximation of normal noise with standard
    # deviation 256 / sqrt(6) = 104.5.
    first, second = rng.integers(0, 256, (2, *pixels.shape), dtype=np.uint8)
    exposed += (first.astype(np.float32) + second - 255) * np.float32(rng.uniform(1.5, 5) / 104.5)
    developed = np.clip(exposed, 0, 255).astype(np.uint8).reshape(picture.height, -1, 3)
    store = BytesIO()
    Image.fromarray(developed).save(store, "JPEG", quality=int(rng.integers(55, 92)))
    return np.array(Image.open(store))
