"""Generated street scenes: a picture and its mask from a random generator."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lossmaxpool.scenes.backdrop import cast_shadows, draw_houses, paint_ground, paint_sky
from lossmaxpool.scenes.layout import COLORS, NAMES, Object, Street, draw_scene
from lossmaxpool.scenes.objects import DRAW
from lossmaxpool.scenes.view import NEAR, Brush, Camera, Floats, draw_camera, draw_light

__all__ = ["COLORS", "NAMES", "render"]

_SUPERSAMPLING = 2
Bytes = NDArray[np.uint8]


def render(rng: np.random.Generator, height: int, width: int) -> tuple[Bytes, Bytes]:
    """Draw one street scene, determined by the generator alone.

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
    # The objects are in front of the houses, and come from far to near.
    draw_houses(brush, scene)
    for thing in scene.objects:
        if thing.z > NEAR or thing.length:
            brush.take(thing, _shadow_on(thing, camera, shadow))
            DRAW[thing.thing](brush)
    mask = np.array(brush.mask)[::_SUPERSAMPLING, ::_SUPERSAMPLING].copy()
    return _photograph(brush.picture, rng), mask


def _shadow_on(thing: Object, camera: Camera, shadow: Floats) -> float:
    """The shadow that covers an object: on the ground beside it, as its own is at its foot."""
    column, row = camera.project(thing.x - thing.side * 0.9, 0, thing.z + 0.4)
    inside = 0 <= column < camera.width and 0 <= row < camera.height
    return float(shadow[int(row), int(column)]) if inside else 0.0


def _photograph(view: Image.Image, rng: np.random.Generator) -> Bytes:
    """Simulate a camera: exposure, blur, noise and compression."""
    picture = view.reduce(_SUPERSAMPLING)
    blur = rng.uniform(0.0, 0.55)
    if blur > 0.2:
        picture = picture.filter(ImageFilter.BoxBlur(blur))
    pixels = np.asarray(picture).reshape(picture.height, -1)
    balance = rng.normal(1.0, 0.015, 3).astype(np.float32) * np.float32(rng.uniform(0.95, 1.15))
    exposed = pixels * np.tile(balance, picture.width)
    # Two uniform bytes approximate normal noise of standard deviation 256 / sqrt(6) = 104.5.
    first, second = rng.integers(0, 256, (2, *pixels.shape), dtype=np.uint8)
    exposed += (first.astype(np.float32) + second - 255) * np.float32(rng.uniform(1.5, 5) / 104.5)
    developed = np.clip(exposed, 0, 255).astype(np.uint8).reshape(picture.height, -1, 3)
    store = BytesIO()
    Image.fromarray(developed).save(store, "JPEG", quality=int(rng.integers(55, 92)))
    return np.array(Image.open(store))
