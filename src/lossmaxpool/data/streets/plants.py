"""Trees and hedges, with leaves of noise."""

from __future__ import annotations

from functools import cache
from random import Random

import numpy as np
from PIL import Image

from lossmaxpool.data.streets.camera import NEAR, Camera
from lossmaxpool.data.streets.canvas import Canvas
from lossmaxpool.data.streets.classes import Street
from lossmaxpool.data.streets.layout import Object
from lossmaxpool.data.streets.light import RGB, Light
from lossmaxpool.data.streets.noise import channels, pick, sample

CROWN = 128
"""Side of a crown's maps in pixels."""

_LEAVES: tuple[RGB, ...] = (
    (88, 118, 50), (74, 104, 52), (104, 128, 56), (66, 92, 50), (122, 134, 62), (156, 122, 52),
)  # fmt: skip


def draw_tree(canvas: Canvas, camera: Camera, tree: Object, light: Light, shadow: float) -> None:
    """Draws a trunk and a crown.

    Args:
        canvas: drawn on.
        camera: the view.
        tree: place and height.
        light: of the scene.
        shadow: 0 in the sun, 1 in shadow.
    """
    rng = Random(tree.seed)
    scale = camera.scale(tree.z)
    x, ground = camera.project(tree.x, 0, tree.z)
    bark = light.paint(pick(rng, ((92, 74, 58), (110, 98, 84), (70, 58, 48))), tree.z, 0.4, shadow)
    trunk = max(2.0, rng.uniform(0.022, 0.034) * tree.height * scale)
    fork = ground - 0.5 * tree.height * scale
    canvas.line([(x, ground), (x, fork)], trunk, bark, Street.VEGETATION)
    for lean in (-0.1, 0.12):
        tip = (x + lean * tree.height * scale, fork - 0.15 * tree.height * scale)
        canvas.line(
            [(x, fork + 0.08 * tree.height * scale), tip], trunk * 0.6, bark, Street.VEGETATION
        )
    radius_y = rng.uniform(0.29, 0.36) * tree.height * scale
    radius_x = radius_y * rng.uniform(0.85, 1.2)
    center = ground - 0.66 * tree.height * scale
    left, right = max(0, int(x - 1.5 * radius_x)), min(camera.width, int(x + 1.5 * radius_x) + 1)
    top, bottom = (
        max(0, int(center - 1.4 * radius_y)),
        min(camera.height, int(center + 1.4 * radius_y) + 1),
    )
    if left >= right or top >= bottom:
        return
    # The place of the visible part within the crown's own square.
    place = (
        0.5 + (left - x) / (3 * radius_x),
        0.5 + (top - center) / (2.8 * radius_y),
        0.5 + (right - x) / (3 * radius_x),
        0.5 + (bottom - center) / (2.8 * radius_y),
    )
    x1, y1, x2, y2 = (CROWN * min(1.0, max(0.0, share)) for share in place)
    crown = _crown(tree.seed % 12, light.direction[0] > 0)
    maps = crown.resize(
        (right - left, bottom - top), Image.Resampling.BILINEAR, box=(x1, y1, x2, y2)
    )
    shape, tone, lit = (np.asarray(channel) for channel in maps.split())
    base = channels(pick(rng, _LEAVES)) * np.float32(rng.uniform(0.85, 1.1))
    clear = np.float32(1 - light.fade(tree.z))
    color = tone * (base * channels(light.ambient) * (clear / 200))
    color += lit * (base * channels(light.sun) * (clear * np.float32(1 - 0.7 * shadow) / 200))
    color += channels(light.haze) * (1 - clear)
    canvas.paste(left, top, color, shape > 127, Street.VEGETATION)


@cache
def _crown(kind: int, from_right: bool) -> Image.Image:
    """A crown of leaves, three maps in one picture: shape, tone, and tone times sunlight (x 200).

    Args:
        kind: one of a few shapes.
        from_right: the side that the sun shines on.
    """
    u = np.linspace(-1.5, 1.5, CROWN, dtype=np.float32)[None, :]
    v = np.linspace(-1.4, 1.4, CROWN, dtype=np.float32)[:, None]
    clumps = sample(1.3, v * 26 + 64 + 37 * kind, u * 26 + 64 + 91 * kind)
    leaves = sample(0.6, v * 30 + 64 + 53 * kind, u * 30 + 64 + 29 * kind)
    shape = u * u + v * v + 0.16 * clumps + 0.10 * leaves < 0.92
    # Holes through which the sky shows.
    shape &= (clumps + 0.5 * leaves < 1.9) | (u * u + v * v < 0.2)
    side = 1 if from_right else -1
    lit = np.clip(0.42 - 0.36 * v + 0.30 * u * side - 0.22 * clumps, 0, 1.1)
    tone = 0.80 + 0.17 * leaves - 0.06 * clumps
    maps = np.stack([255 * shape, 200 * tone, 200 * tone * lit], axis=-1)
    return Image.fromarray(np.clip(maps, 0, 255).astype(np.uint8))


def draw_hedge(canvas: Canvas, camera: Camera, hedge: Object, light: Light, shadow: float) -> None:
    """Draws a clipped hedge along the street.

    Args:
        canvas: drawn on.
        camera: the view.
        hedge: place, length and height.
        light: of the scene.
        shadow: 0 in the sun, 1 in shadow.
    """
    edges = [
        camera.vanishing + camera.focal * hedge.x / max(z, NEAR)
        for z in (hedge.z, hedge.z + hedge.length)
    ]
    first, last = (int(np.clip(u, 0, camera.width)) for u in (min(edges), max(edges)))
    if first >= last:
        return
    columns = np.arange(first, last, dtype=np.float32) + 0.5
    z = camera.focal * hedge.x / (columns - camera.vanishing)
    scale = camera.focal / z
    seed = hedge.seed % 256
    bumps = sample(1.0, np.full_like(z, seed), z * 12)
    crest = camera.horizon + scale * (camera.altitude - hedge.height * (1 + 0.06 * bumps))
    foot = camera.horizon + scale * camera.altitude
    top, bottom = int(max(0, crest.min())), int(min(camera.height, foot.max() + 1))
    if top >= bottom:
        return
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
    y = camera.altitude - (rows - camera.horizon) / scale
    shape = (rows >= crest) & (rows <= foot)
    leaves = sample(0.6, y * 26 + seed, (z * 22)[None, :])
    facing = max(0.0, float(-np.sign(hedge.x)) * light.direction[0]) * (1 - shadow)
    tone = 0.72 + 0.18 * leaves + 0.28 * np.clip(y / hedge.height, 0, 1)
    lit = channels(light.ambient) + np.float32(facing) * channels(light.sun)
    clear = np.exp(-light.density * z)
    color = channels((78, 106, 50)) * lit * (tone * clear) + channels(light.haze) * (1 - clear)
    canvas.paste(first, top, color, shape, Street.VEGETATION)
