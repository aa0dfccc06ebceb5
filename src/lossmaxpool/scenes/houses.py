"""Houses: fronts along the street in perspective, and the walls that face the camera."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, copysign
from random import Random

import numpy as np
from numpy.typing import NDArray

from lossmaxpool.scenes.layout import FAR, Building, Scene, Street, pick
from lossmaxpool.scenes.view import NEAR, Camera, Floats, Light, Plate, centers, channels, sample

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
# Across a bay: plain wall, window frame, window, its middle bar, shop window only, rain pipe.
_PLAIN, _JAMB, _PANE, _BAR, _DISPLAY, _DRAIN = range(6)
_STEP = 0.03
"""Up a wall, materials are told apart to this many meters."""


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


def _materials(
    style: _Style, along: Floats, y: Floats, length: float, height: float
) -> NDArray[np.intp]:
    """Which material is seen at each place of a wall: (rows, columns).

    A wall is a table: what lies where across a bay, times what lies where up the wall.

    Args:
        style: Of the house.
        along: Meters along the wall, (1, columns).
        y: Meters above the ground, (rows, columns).
        length: Of the wall.
        height: Of the wall.
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
    style: _Style, light: Light, normal: tuple[float, float, float], along: Floats, y: Floats,
    size: tuple[float, float], z: Floats | float,
) -> Floats:  # fmt: skip
    """Colors of a wall of some length and height: (3, rows, columns)."""
    material = _materials(style, along, y, *size)
    gains = np.repeat(light.on(normal)[:, 0], 9, axis=1)
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
    return light.haze_over(colors, z)


def _clamp(value: int, limit: int) -> int:
    return min(max(value, 0), limit)


def _front_columns(camera: Camera, house: Building) -> tuple[int, int]:
    """The columns of the picture, from first to before last, in which a house's front is seen."""
    ends = sorted(camera.project(house.x, 0, z)[0] for z in (house.z1, house.z2))
    first, last = (_clamp(ceil(end - 0.5), camera.width) for end in ends)
    return first, last


def _side_wall(plate: Plate, house: Building, style: _Style) -> None:
    """The front along the street; every column of it has one distance."""
    camera = plate.camera
    first, last = _front_columns(camera, house)
    if first >= last:
        return
    z = (camera.focal * house.x / (centers(first, last) - camera.vanishing))[None, :]
    meters = z / camera.focal
    top = int(max(0, (camera.horizon - (house.height - camera.altitude) / meters).min()))
    bottom = int(min(camera.height, (camera.horizon + camera.altitude / meters).max() + 1))
    y = camera.altitude - (centers(top, bottom)[:, None] - camera.horizon) * meters
    normal, size = (-copysign(1, house.x), 0.0, 0.0), (house.z2 - house.z1, house.height)
    colors = _wall(style, plate.light, normal, z - house.z1, y, size, z)
    plate.put(top, first, colors, Street.BUILDING, (y >= 0) & (y <= house.height))


def _front_wall(plate: Plate, x1: float, x2: float, z: float, height: float, style: _Style) -> None:
    """A wall that faces the camera, from x1 to x2 at one distance."""
    camera = plate.camera
    left, top = camera.project(x1, height, z)
    right, bottom = camera.project(x2, 0, z)
    first, last = (_clamp(round(u), camera.width) for u in (left, right))
    above, below = (_clamp(round(v), camera.height) for v in (top, bottom))
    if first >= last or above >= below or z <= NEAR:
        return
    scale = camera.scale(z)
    along = ((centers(first, last) - left) / scale)[None, :]
    y = np.broadcast_to(
        ((bottom - centers(above, below)) / scale)[:, None], (below - above, last - first)
    )
    colors = _wall(style, plate.light, (0, 0, -1), along, y, (x2 - x1, height), z)
    plate.put(above, first, colors, Street.BUILDING)


def _roof(plate: Plate, house: Building, style: _Style) -> None:
    """The slope of a roof above a front, column by column."""
    camera, light, side = plate.camera, plate.light, copysign(1, house.x)
    first, last = _front_columns(camera, house)
    if first >= last:
        return
    columns = centers(first, last)
    z_front = camera.focal * house.x / (columns - camera.vanishing)
    z_ridge = camera.focal * (house.x + side * 3.5) / (columns - camera.vanishing)
    eaves = camera.horizon - camera.focal * (house.height - camera.altitude) / z_front
    ridge = camera.horizon - camera.focal * (house.height + 2.6 - camera.altitude) / z_ridge
    # The ridge ends where the house does; beyond it the gable cuts the slope off.
    run = np.clip((house.z2 - z_front) / np.maximum(z_ridge - z_front, 1e-3), 0, 1)
    ridge = eaves + (ridge - eaves) * run
    top, bottom = int(max(0, ridge.min())), int(min(camera.height, eaves.max() + 1))
    if top >= bottom:
        return
    rows = centers(top, bottom)[:, None]
    tiles = 0.92 + 0.1 * sample(0.5, rows * 3, (z_front * 20)[None, :])
    colors = channels(style.albedo[_ROOF]) * light.on((-side * 0.6, 0.8, 0)) * tiles
    inside = (rows >= ridge) & (rows <= eaves)
    plate.put(top, first, light.haze_over(colors, z_front), Street.BUILDING, inside)


def _gable(plate: Plate, house: Building, style: _Style) -> None:
    """The triangle of a wall under a pitched roof."""
    if house.z1 <= NEAR:
        return
    camera, light = plate.camera, plate.light
    near, eaves = camera.project(house.x, house.height, house.z1)
    far, _ = camera.project(house.x + copysign(7, house.x), house.height, house.z1)
    _, peak = camera.project(house.x, house.height + 2.6, house.z1)
    left, right = sorted((near, far))
    first, last = (_clamp(round(u), camera.width) for u in (left, right))
    top, bottom = (_clamp(round(v), camera.height) for v in (peak, eaves))
    if first >= last or top >= bottom:
        return
    columns, rows = centers(first, last)[None, :], centers(top, bottom)[:, None]
    half = (right - left) / 2
    inside = np.abs(columns - left - half) / half < (rows - peak) / (eaves - peak)
    color = light.haze_over(channels(style.albedo[_WALL]) * light.on((0, 0, -1)), house.z1)
    plate.put(top, first, np.broadcast_to(color, (3, *inside.shape)), Street.BUILDING, inside)


def _treeline(plate: Plate, seed: int) -> None:
    """A wood at the end of the street."""
    camera, light = plate.camera, plate.light
    columns = np.arange(camera.width, dtype=np.float32)
    still = np.zeros(1, dtype=np.float32) + seed % 256
    bumps = sample(1.7, still, columns * 0.6) + 0.12 * sample(0.9, still, columns * 1.5)
    scale = camera.scale(FAR)
    crest = camera.horizon - scale * np.clip(8 + 1.6 * bumps - camera.altitude, 3, 20)
    top, bottom = int(max(0, crest.min())), int(camera.horizon + scale * camera.altitude) + 1
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    tone = 0.85 + 0.22 * sample(0.9, rows * 1.3, columns[None, :] * 1.3)
    colors = channels((74, 100, 52)) * light.on((0, 0.6, -0.6)) * tone
    plate.put(top, 0, light.haze_over(colors, FAR), Street.VEGETATION, rows > crest)


def paint_houses(plate: Plate, scene: Scene) -> None:
    """Draws what closes the street, then every house from far to near."""
    if scene.end == "houses":
        rng = Random(scene.seed + 1)
        x = -60.0
        while x < 60:
            width, height = rng.uniform(12, 24), rng.uniform(7, 16)
            style = _draw_style(scene.seed + int(x), False, plate.light)
            _front_wall(plate, x, x + width, FAR + 5, height, style)
            x += width
    else:
        _treeline(plate, scene.seed)
    for house in scene.buildings:
        style = _draw_style(house.seed, house.height < 7.5, plate.light)
        x1, x2 = sorted((house.x, house.x + copysign(9, house.x)))
        if not house.abuts:
            _front_wall(plate, x1, x2, house.z1, house.height, style)
        if style.pitched:
            _gable(plate, house, style)
            _roof(plate, house, style)
        _side_wall(plate, house, style)
