"""From a street as data to a photograph and its mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lossmaxpool.data.streets.backdrop import cast_shadows, paint_ground, paint_sky
from lossmaxpool.data.streets.camera import NEAR, Camera, draw_camera
from lossmaxpool.data.streets.canvas import Canvas
from lossmaxpool.data.streets.classes import Street
from lossmaxpool.data.streets.facades import paint_houses
from lossmaxpool.data.streets.furniture import (
    draw_bin,
    draw_bollard,
    draw_fence,
    draw_lamp,
    draw_sign,
    draw_traffic_light,
)
from lossmaxpool.data.streets.layout import Object, Thing, draw_scene
from lossmaxpool.data.streets.light import Light, draw_light
from lossmaxpool.data.streets.people import draw_person, draw_rider
from lossmaxpool.data.streets.photograph import photograph
from lossmaxpool.data.streets.plants import draw_hedge, draw_tree
from lossmaxpool.data.streets.vehicles import draw_car

SUPERSAMPLING = 2

_DRAW: dict[Thing, Callable[[Canvas, Camera, Object, Light, float], None]] = {
    "car": draw_car,
    "person": draw_person,
    "rider": draw_rider,
    "lamp": draw_lamp,
    "sign": draw_sign,
    "light": draw_traffic_light,
    "tree": draw_tree,
    "bin": draw_bin,
    "fence": draw_fence,
    "hedge": draw_hedge,
    "bollard": draw_bollard,
}


def render(
    rng: np.random.Generator, height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draws one street scene.

    Everything inside the street stands in front of the houses that line it, so that sky, ground and
    houses come first and the rest follows from far to near.

    Args:
        rng: decides everything.
        height: of the picture.
        width: of the picture.

    Returns:
        Picture (H, W, 3) uint8 and mask (H, W) uint8.
    """
    camera = draw_camera(rng, height * SUPERSAMPLING, width * SUPERSAMPLING)
    light = draw_light(rng)
    scene = draw_scene(rng)

    pixels = np.empty((3, camera.height, camera.width), dtype=np.float32)
    ids = np.full((camera.height, camera.width), Street.SKY, dtype=np.uint8)
    paint_sky(pixels, camera, light, scene.seed)
    shadow = cast_shadows(camera, scene, light)
    paint_ground(pixels, ids, camera, scene, light, shadow)
    paint_houses(pixels, ids, camera, scene, light)

    canvas = Canvas(pixels, ids)
    for thing in scene.objects:
        if thing.z > NEAR or thing.length:
            draw = _DRAW[thing.thing]
            draw(canvas, camera, thing, light, _shadow_on(thing, camera, scene_shadow=shadow))
    picture = photograph(canvas.picture, SUPERSAMPLING, rng)
    return picture, np.array(canvas.mask)[::SUPERSAMPLING, ::SUPERSAMPLING].copy()


def _shadow_on(thing: Object, camera: Camera, scene_shadow: NDArray[np.float32]) -> float:
    """The shadow on the ground beside an object, which also lies on the object itself."""
    # Beside it towards the middle of the street: at its foot lies the object's own shadow.
    column, row = camera.project(thing.x - thing.side * 0.9, 0, thing.z + 0.4)
    inside = 0 <= column < camera.width and 0 <= row < camera.height
    return float(scene_shadow[int(row), int(column)]) if inside else 0.0
