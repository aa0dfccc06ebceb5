"""Houses: fronts along the street in perspective, and the walls that face the camera."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, copysign
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossmaxpool.data.streets.camera import NEAR, Camera
from lossmaxpool.data.streets.classes import Street
from lossmaxpool.data.streets.layout import FAR, Building, Scene
from lossmaxpool.data.streets.light import Light
from lossmaxpool.data.streets.noise import Floats, channels, pick, sample

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


@dataclass(frozen=True)
class _Style:
    """The look of one house."""

    albedo: Floats  # (9, 3)
    bay: float
    storey: float
    base: float
    window: tuple[float, float]
    pitched: bool
    offset: int
    lit: float  # share of windows that are lit, where lamps are on


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
    ])  # fmt: skip
    return _Style(
        albedo=albedo.astype(np.float32),
        bay=rng.uniform(2.0, 3.2),
        storey=rng.uniform(2.9, 3.4),
        base=rng.uniform(3.4, 4.2) if not low else 0.5,
        window=(rng.uniform(0.36, 0.62), rng.uniform(0.45, 0.62)),
        pitched=low or rng.random() < 0.35,
        offset=rng.randrange(256),
        lit=rng.uniform(0.15, 0.5) if light.lamps else 0.0,
    )


# Across a bay: plain wall, window frame, window, its middle bar, shop window only, rain pipe.
_PLAIN, _JAMB, _PANE, _BAR, _DISPLAY, _DRAIN = range(6)
_STEP = 0.03
"""Up a wall, materials are told apart to this many metres."""


def _materials(
    style: _Style, along: Floats, y: Floats, length: float, height: float
) -> NDArray[np.intp]:
    """Which material is seen at each place of a wall: (rows, columns).

    A wall is a table: what lies where across a bay, times what lies where up the wall.

    Args:
        style: of the house.
        along: metres along the wall, (1, columns).
        y: metres above the ground, (rows, columns).
        length: of the wall.
        height: of the wall.
    """
    wide, tall = style.window
    bays = max(1, round(length / style.bay))
    a = along * (bays / length)
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


def _shade(
    style: _Style,
    material: NDArray[np.intp],
    along: Floats,
    y: Floats,
    lit: Floats,
    light: Light,
) -> Floats:
    """Colours of a wall before haze: (3, rows, columns)."""
    gains = np.repeat(lit[:, 0], 9, axis=1)
    # Glass mirrors the sky rather than the sun; a lit window shines by itself.
    gains[:, _GLASS] = gains[:, _SHOP] = channels(light.ambient)[:, 0, 0] * 1.1
    gains[:, _LIT] = 1.0
    texture = sample(0.7, y * 14 + style.offset, along * 14)
    tone = 0.05 * texture + np.minimum(0.05 * y - 0.12, 0)
    # The reflections in a window vary more than a wall does.
    tone *= np.take(_CONTRAST, material)
    tone += 1
    colors: Floats = np.take(style.albedo.T * gains, material, axis=1)
    colors *= tone
    return colors


def _haze(colors: Floats, distance: Floats | np.floating[Any], light: Light) -> None:
    """Fades colours (3, rows, columns) to the haze, in place."""
    clear = np.exp(-light.density * distance)
    colors *= clear
    colors += (1 - clear) * channels(light.haze)


def _clamp(value: int, limit: int) -> int:
    return min(max(value, 0), limit)


def _front_columns(camera: Camera, house: Building) -> tuple[int, int]:
    """The columns of the picture, from first to before last, in which a house's front is seen."""
    ends = sorted(camera.project(house.x, 0, z)[0] for z in (house.z1, house.z2))
    first, last = (_clamp(ceil(end - 0.5), camera.width) for end in ends)
    return first, last


def _side_wall(
    pixels: Floats,
    ids: NDArray[np.uint8],
    camera: Camera,
    house: Building,
    light: Light,
    style: _Style,
) -> None:
    """The front along the street; every column of it has one distance."""
    first, last = _front_columns(camera, house)
    if first >= last:
        return
    columns = np.arange(first, last, dtype=np.float32) + 0.5
    z = (camera.focal * house.x / (columns - camera.vanishing))[None, :]
    meters = z / camera.focal
    top = int(max(0, (camera.horizon - (house.height - camera.altitude) / meters).min()))
    bottom = int(min(camera.height, (camera.horizon + camera.altitude / meters).max() + 1))
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
    y = camera.altitude - (rows - camera.horizon) * meters
    along = z - house.z1
    material = _materials(style, along, y, house.z2 - house.z1, house.height)
    lit = light.on((-copysign(1, house.x), 0, 0))
    colors = _shade(style, material, along, y, lit, light)
    _haze(colors, z, light)
    inside = (y >= 0) & (y <= house.height)
    np.copyto(pixels[:, top:bottom, first:last], colors, where=inside)
    ids[top:bottom, first:last][inside] = Street.BUILDING


def _front_wall(
    pixels: Floats,
    ids: NDArray[np.uint8],
    camera: Camera,
    x1: float,
    x2: float,
    z: float,
    height: float,
    light: Light,
    style: _Style,
) -> None:
    """A wall that faces the camera, from x1 to x2 at one distance."""
    left, top = camera.project(x1, height, z)
    right, bottom = camera.project(x2, 0, z)
    first, last = (_clamp(round(u), camera.width) for u in (left, right))
    above, below = (_clamp(round(v), camera.height) for v in (top, bottom))
    if first >= last or above >= below or z <= NEAR:
        return
    scale = camera.scale(z)
    along = ((np.arange(first, last, dtype=np.float32) + 0.5 - left) / scale)[None, :]
    y = ((bottom - np.arange(above, below, dtype=np.float32) - 0.5) / scale)[:, None]
    y = np.broadcast_to(y, (below - above, last - first))
    material = _materials(style, along, y, x2 - x1, height)
    colors = _shade(style, material, along, y, light.on((0, 0, -1)), light)
    _haze(colors, np.float32(z), light)
    pixels[:, above:below, first:last] = colors
    ids[above:below, first:last] = Street.BUILDING


def _roof(
    pixels: Floats,
    ids: NDArray[np.uint8],
    camera: Camera,
    house: Building,
    light: Light,
    style: _Style,
) -> None:
    """The slope of a roof above a front, column by column."""
    ridge_x, ridge_y = house.x + copysign(1, house.x) * 3.5, house.height + 2.6
    first, last = _front_columns(camera, house)
    if first >= last:
        return
    columns = np.arange(first, last, dtype=np.float32) + 0.5
    z_front = camera.focal * house.x / (columns - camera.vanishing)
    z_ridge = camera.focal * ridge_x / (columns - camera.vanishing)
    eaves = camera.horizon - camera.focal * (house.height - camera.altitude) / z_front
    ridge = camera.horizon - camera.focal * (ridge_y - camera.altitude) / z_ridge
    # The ridge ends where the house does; beyond it the gable cuts the slope off.
    run = np.clip((house.z2 - z_front) / np.maximum(z_ridge - z_front, 1e-3), 0, 1)
    ridge = eaves + (ridge - eaves) * run
    top, bottom = int(max(0, ridge.min())), int(min(camera.height, eaves.max() + 1))
    if top >= bottom:
        return
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
    inside = (rows >= ridge) & (rows <= eaves)
    lit = light.on((-copysign(1, house.x) * 0.6, 0.8, 0))
    tiles = 0.92 + 0.1 * sample(0.5, rows * 3, (z_front * 20)[None, :])
    colors = channels(style.albedo[_ROOF]) * lit * tiles
    _haze(colors, z_front, light)
    np.copyto(pixels[:, top:bottom, first:last], colors, where=inside)
    ids[top:bottom, first:last][inside] = Street.BUILDING


def paint_houses(
    pixels: Floats, ids: NDArray[np.uint8], camera: Camera, scene: Scene, light: Light
) -> None:
    """Draws what closes the street, then every house from far to near.

    Args:
        pixels: (3, H, W) float32, written.
        ids: (H, W) uint8, written.
        camera: the view.
        scene: where the houses stand.
        light: of the scene.
    """
    if scene.end == "houses":
        rng = Random(scene.seed + 1)
        x = -60.0
        while x < 60:
            width, height = rng.uniform(12, 24), rng.uniform(7, 16)
            style = _draw_style(scene.seed + int(x), False, light)
            _front_wall(pixels, ids, camera, x, x + width, FAR + 5, height, light, style)
            x += width
    else:
        _treeline(pixels, ids, camera, light, scene.seed)
    for house in scene.buildings:
        style = _draw_style(house.seed, house.height < 7.5, light)
        far_x = house.x + copysign(1, house.x) * 9
        x1, x2 = min(house.x, far_x), max(house.x, far_x)
        if not house.abuts:
            _front_wall(pixels, ids, camera, x1, x2, house.z1, house.height, light, style)
        if style.pitched:
            _gable(pixels, ids, camera, house, light, style)
            _roof(pixels, ids, camera, house, light, style)
        _side_wall(pixels, ids, camera, house, light, style)


def _gable(
    pixels: Floats,
    ids: NDArray[np.uint8],
    camera: Camera,
    house: Building,
    light: Light,
    style: _Style,
) -> None:
    """The triangle of a wall under a pitched roof."""
    if house.z1 <= NEAR:
        return
    sign = copysign(1, house.x)
    base_l, eaves = camera.project(house.x, house.height, house.z1)
    base_r, _ = camera.project(house.x + sign * 7, house.height, house.z1)
    _, peak = camera.project(house.x, house.height + 2.6, house.z1)
    left, right = sorted((base_l, base_r))
    first, last = (_clamp(round(u), camera.width) for u in (left, right))
    top, bottom = (_clamp(round(v), camera.height) for v in (peak, eaves))
    if first >= last or top >= bottom:
        return
    columns = np.arange(first, last, dtype=np.float32)[None, :] + 0.5
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
    half = (right - left) / 2
    inside = np.abs(columns - left - half) / half < (rows - peak) / (eaves - peak)
    color = channels(style.albedo[_WALL]) * light.on((0, 0, -1))
    _haze(color, np.float32(house.z1), light)
    np.copyto(pixels[:, top:bottom, first:last], color, where=inside)
    ids[top:bottom, first:last][inside] = Street.BUILDING


def _treeline(
    pixels: Floats, ids: NDArray[np.uint8], camera: Camera, light: Light, seed: int
) -> None:
    """A wood at the end of the street."""
    columns = np.arange(camera.width, dtype=np.float32)
    still = np.zeros(1, dtype=np.float32) + seed % 256
    bumps = sample(1.7, still, columns * 0.6) + 0.12 * sample(0.9, still, columns * 1.5)
    scale = camera.scale(FAR)
    crest = camera.horizon - scale * np.clip(8 + 1.6 * bumps - camera.altitude, 3, 20)
    bottom = int(camera.horizon + scale * camera.altitude) + 1
    top = int(max(0, crest.min()))
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    inside = rows > crest
    tone = 0.85 + 0.22 * sample(0.9, rows * 1.3, columns[None, :] * 1.3)
    colors = channels((74, 100, 52)) * light.on((0, 0.6, -0.6)) * tone
    _haze(colors, np.float32(FAR), light)
    np.copyto(pixels[:, top:bottom], colors, where=inside)
    ids[top:bottom][inside] = Street.VEGETATION
