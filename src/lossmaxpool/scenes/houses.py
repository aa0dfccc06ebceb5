"""Houses: facades along the street in perspective, and walls that face the camera."""

from __future__ import annotations

from itertools import pairwise
from math import copysign
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossmaxpool.scenes.layout import FAR, Building, Scene, Street, pick
from lossmaxpool.scenes.view import NEAR, RGB, Brush, Floats, Light, centers, channels, dim, sample

_WALLS = (
    (196, 178, 150), (214, 200, 172), (178, 140, 112), (160, 96, 76), (186, 186, 184),
    (222, 214, 202), (150, 150, 152), (206, 168, 124), (176, 120, 96), (198, 190, 170),
    (232, 218, 180), (170, 176, 180), (140, 84, 68), (208, 184, 168),
)  # fmt: skip
_SIGNS = ((176, 40, 44), (34, 78, 140), (32, 104, 72), (214, 168, 40), (40, 40, 44), (200, 90, 40))
_ROOFS = ((128, 66, 52), (92, 82, 80), (110, 74, 62), (70, 72, 80))

# Materials of a wall.
_WALL, _GLASS, _FRAME, _BASE, _SHOP, _SIGN, _ROOF, _PIPE, _LIT = range(9)
_CONTRAST = np.array((1, 4.5, 1, 1.2, 4, 1, 1, 1, 1), dtype=np.float32)
# Across a bay: plain wall, window frame, window, its middle bar, shop window, rain pipe.
_PLAIN, _JAMB, _PANE, _BAR, _DISPLAY, _DRAIN = range(6)
_STEP = 0.03
"""Up a wall, materials are told apart to this many meters."""


class _Style(NamedTuple):
    """The appearance of one house."""

    albedo: Floats  # (9, 3)
    bay: float
    storey: float
    base: float
    window: tuple[float, float]
    pitched: bool
    offset: int
    lit: float  # share of lit windows, if lamps are on


def _draw_style(seed: int, low: bool, light: Light) -> _Style:
    rng = Random(seed)
    wall = np.array(pick(rng, _WALLS)) * rng.uniform(0.85, 1.08)
    glass = np.array((58, 68, 82)) * rng.uniform(0.7, 1.3)
    frame = np.array((232, 230, 224)) if rng.random() < 0.65 else wall * 0.7
    base = wall * rng.uniform(0.7, 0.95)
    shop = not low and rng.random() < 0.55
    albedo = np.array([
        wall, glass, frame, base, (46, 50, 56) if shop else glass,
        pick(rng, _SIGNS) if shop else base, pick(rng, _ROOFS), wall * 0.45, (250, 208, 130),
    ], np.float32)  # fmt: skip
    bay, storey = rng.uniform(2.0, 3.2), rng.uniform(2.9, 3.4)
    base_height = rng.uniform(3.4, 4.2) if not low else 0.5
    window = (rng.uniform(0.36, 0.62), rng.uniform(0.45, 0.62))
    pitched, offset = low or rng.random() < 0.35, rng.randrange(256)
    lit = rng.uniform(0.15, 0.5) if light.lamps else 0.0
    return _Style(albedo, bay, storey, base_height, window, pitched, offset, lit)


def _materials(
    style: _Style, along: Floats, y: Floats, length: float, height: float
) -> NDArray[np.intp]:
    """The material at each pixel of a wall: (rows, columns).

    It is looked up by the position across a bay and the position up the wall. The pixels are at
    ``along`` (1, columns) and ``y`` (rows, columns), in meters.
    """
    wide, tall = style.window
    a = along * (max(1, round(length / style.bay)) / length)
    across = np.abs(a - np.floor(a) - 0.5)
    column = np.where(across < 0.4, _DISPLAY, _PLAIN)
    column[across < wide / 2 + 0.06] = _JAMB
    column[across < wide / 2] = _PANE
    column[across < 0.03] = _BAR
    # Rain pipes look like poles, but belong to the house.
    column[(along < 0.16) & (along > 0.04)] = _DRAIN

    up = np.arange(-_STEP, height + 2 * _STEP, _STEP)
    floors = height - style.base - 0.3
    storeys = max(1, round(floors / style.storey))
    b = (up - style.base) * (storeys / max(floors, 1.0))
    level = np.abs(b % 1 - 0.5)
    upper = (b > 0) & (b < storeys)
    table = np.full((len(up), 6), _WALL, dtype=np.intp)
    table[upper & (level < tall / 2 + 0.06), _JAMB : _BAR + 1] = _FRAME
    table[upper & (level < tall / 2), _PANE] = _GLASS
    if style.base > 1:
        table[up < style.base] = _BASE
        table[(up > 0.5) & (up < style.base - 0.9), _JAMB : _DISPLAY + 1] = _SHOP
        table[(up > style.base - 0.75) & (up < style.base - 0.15)] = _SIGN
    table[:, _DRAIN] = _PIPE
    table[up > height - 0.3] = _FRAME

    row = (y * np.float32(1 / _STEP) + 1).astype(np.int32)
    np.clip(row, 0, len(up) - 1, out=row)
    material: NDArray[np.intp] = np.take(table.ravel(), row * 6 + column.astype(np.int32))
    if style.lit:
        window = np.floor((y - style.base) * (storeys / max(floors, 1.0))) * 7 + style.offset
        glow = sample(0.0, window, np.floor(a) * 13 + style.offset)
        material[(material == _GLASS) & (glow > 2.2 - 3.4 * style.lit)] = _LIT
    return material


def _wall(
    style: _Style, light: Light, normal: RGB, along: Floats, y: Floats, length: float, height: float
) -> Floats:
    """Colors of a wall before haze: (3, rows, columns)."""
    material = _materials(style, along, y, length, height)
    gains = np.repeat(light.on(normal)[:, 0], 9, axis=1)
    # Glass reflects the sky rather than the sun; a lit window emits light.
    gains[:, _GLASS] = gains[:, _SHOP] = channels(light.ambient)[:, 0, 0] * 1.1
    gains[:, _LIT] = 1.0
    texture = sample(0.7, y * 14 + style.offset, along * 14)
    tone = 0.05 * texture + np.minimum(0.05 * y - 0.12, 0)
    # Reflections in a window vary more than a wall.
    tone *= np.take(_CONTRAST, material)
    tone += 1
    colors: Floats = np.take(style.albedo.T * gains, material, axis=1)
    colors *= tone
    return colors


def _clamp(value: int, limit: int) -> int:
    return min(max(value, 0), limit)


def _side_wall(b: Brush, house: Building, style: _Style) -> None:
    """Draw the facade along the street."""
    seen = b.camera.curtain(house.x, house.z1, house.z2, house.height)
    if seen is not None:
        first, top, z, y = seen
        normal, length = (-copysign(1, house.x), 0.0, 0.0), house.z2 - house.z1
        colors = _wall(style, b.light, normal, z - house.z1, y, length, house.height)
        inside = (y >= 0) & (y <= house.height)
        b.paste(first, top, b.light.haze_over(colors, z), inside, Street.BUILDING)


def _front_wall(b: Brush, x1: float, x2: float, z: float, height: float, style: _Style) -> None:
    """Draw a wall that faces the camera, from x1 to x2 at one distance."""
    camera = b.camera
    left, top = camera.project(x1, height, z)
    right, bottom = camera.project(x2, 0, z)
    first, last = (_clamp(round(u), camera.width) for u in (left, right))
    above, below = (_clamp(round(v), camera.height) for v in (top, bottom))
    if first >= last or above >= below or z <= NEAR:
        return
    along = ((centers(first, last) - left) / camera.scale(z))[None, :]
    y = ((bottom - centers(above, below)) / camera.scale(z))[:, None]
    colors = _wall(style, b.light, (0, 0, -1), along, y, x2 - x1, height)
    everywhere = np.ones(colors.shape[1:], dtype=bool)
    b.paste(first, above, b.light.haze_over(colors, z), everywhere, Street.BUILDING)


def _roof(b: Brush, house: Building, style: _Style) -> None:
    """Draw the slope of a pitched roof along the street, and the gable under its near end."""
    x, height, side = house.x, house.height, copysign(1, house.x)
    z1, z2 = max(house.z1, NEAR), house.z2
    if z2 <= NEAR:
        return
    walls, tiles = style.albedo[_WALL].tolist(), style.albedo[_ROOF].tolist()
    if house.z1 > NEAR:
        gable = ((x, height, z1), (x + 3.5 * side, height + 2.6, z1), (x + 7 * side, height, z1))
        color = b.light.paint(walls, z1, b.light.facing((0, 0, -1)), 0)
        b.polygon(b.camera.outline(gable), color, Street.BUILDING)
    facing = b.light.facing((-side * 0.6, 0.8, 0))
    rows = [
        b.camera.outline((x + 3.5 * side * up, height + 2.6 * up, z) for z in (z1, z2))
        for up in (0, 0.25, 0.5, 0.75, 1)
    ]
    for k, (low, high) in enumerate(pairwise(rows)):
        color = b.light.paint(dim(tiles, 0.96 + 0.08 * (k % 2)), (2 * z1 + z2) / 3, facing, 0)
        b.polygon((*low, *reversed(high)), color, Street.BUILDING)


def _treeline(b: Brush, seed: int) -> None:
    """Draw a forest at the end of the street."""
    camera, light = b.camera, b.light
    columns = np.arange(camera.width, dtype=np.float32)
    still = np.zeros(1, dtype=np.float32) + seed % 256
    bumps = sample(1.7, still, columns * 0.6) + 0.12 * sample(0.9, still, columns * 1.5)
    scale = camera.scale(FAR)
    crest = camera.horizon - scale * np.clip(8 + 1.6 * bumps - camera.altitude, 3, 20)
    top, bottom = int(max(0, crest.min())), int(camera.horizon + scale * camera.altitude) + 1
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    tone = 0.85 + 0.22 * sample(0.9, rows * 1.3, columns[None, :] * 1.3)
    colors = channels((74, 100, 52)) * light.on((0, 0.6, -0.6)) * tone
    b.paste(0, top, light.haze_over(colors, FAR), rows > crest, Street.VEGETATION)


def draw_houses(b: Brush, scene: Scene) -> None:
    """Draw the end of the street, then every house from far to near."""
    if scene.end == "houses":
        rng = Random(scene.seed + 1)
        x = -60.0
        while x < 60:
            width, height = rng.uniform(12, 24), rng.uniform(7, 16)
            style = _draw_style(scene.seed + int(x), False, b.light)
            _front_wall(b, x, x + width, FAR + 5, height, style)
            x += width
    else:
        _treeline(b, scene.seed)
    for house in scene.buildings:
        style = _draw_style(house.seed, house.height < 7.5, b.light)
        if not house.abuts:
            x1, x2 = sorted((house.x, house.x + copysign(9, house.x)))
            _front_wall(b, x1, x2, house.z1, house.height, style)
        if style.pitched:
            _roof(b, house, style)
        _side_wall(b, house, style)
