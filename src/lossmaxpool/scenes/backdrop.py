"""Sky, ground with its shadows, and houses: all that the objects of a street stand before."""

from __future__ import annotations

from math import copysign, cos, pi, sin
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lossmaxpool.scenes.layout import FAR, Building, Scene, Street, pick
from lossmaxpool.scenes.view import (
    NEAR,
    RGB,
    Brush,
    Camera,
    Floats,
    Ids,
    Light,
    centers,
    channels,
    sample,
)


def paint_sky(pixels: Floats, camera: Camera, light: Light, seed: int) -> None:
    """Fill the rows above the horizon: a gradient, and clouds from a seed."""
    # The sky is smooth, so half the resolution suffices.
    rows = int(camera.horizon) // 2 + 2
    height = np.linspace(1, 0, rows)[:, None]
    rise, height = (height**0.7).astype(np.float32), height.astype(np.float32)
    zenith, horizon = channels(light.zenith), channels(light.horizon)
    sky = horizon + (zenith - horizon) * rise
    # Clouds shrink towards the horizon, like a flat layer overhead.
    depth = 1 / (height + np.float32(0.22))
    columns = 2 * np.arange(camera.width // 2, dtype=np.float32)[None, :] - camera.vanishing
    across, along = columns * depth * (70 / camera.width) + seed % 251, depth * 60 + seed % 241
    texture = sample(1.7, along, across) + 0.25 * sample(1.0, along * 2, across * 2)
    cover = np.clip((texture + 2.6 * light.clouds - 1.5) * 0.55, 0, 1) * np.clip(height * 5, 0, 1)
    white = np.clip(horizon * 0.6 + 118, 0, 255) if light.clouds < 0.7 else horizon * 0.97
    sky = sky + 0.85 * cover * (white * (1 - 0.10 * np.clip(texture, 0, 2.5)) - sky)

    pixels[:, : 2 * rows] = sky.repeat(2, axis=1).repeat(2, axis=2)


def cast_shadows(camera: Camera, scene: Scene, light: Light) -> Floats:
    """The shadow on the ground, (H, W) float32: 0 in the sun, 1 in full shadow."""
    right, up, forward = light.direction
    shift = np.array([-right, -forward]) / max(up, 0.25)
    # Penumbras are soft, so half the resolution suffices.
    picture = Image.new("L", (camera.width // 2, camera.height // 2))
    ink = ImageDraw.Draw(picture)

    def fill(ground: list[tuple[float, float]], strength: int = 255) -> None:
        outline = [camera.project(x, 0, max(z, NEAR)) for x, z in ground]
        ink.polygon([(u / 2, v / 2) for u, v in outline], fill=strength)

    def fill_wall(x: float, z1: float, z2: float, height: float, strength: int = 255) -> None:
        dx, dz = shift * height
        fill([(x, z1), (x, z2), (x + dx, z2 + dz), (x + dx, z1 + dz)], strength)

    for house in scene.buildings:
        # Only shadows that fall towards the street are visible.
        if shift[0] * house.x < 0:
            fill_wall(house.x, house.z1, house.z2, house.height)
    for thing in scene.objects:
        x, z = thing.x, thing.z
        if thing.thing == "car":
            for y, half in ((0.0, 0.95), (0.9, 0.85), (1.4, 0.65)):
                (sx, sz), far = shift * y, z + thing.length
                sides = ((-half, z), (half, z), (half, far), (-half, far))
                fill([(x + side + sx, end + sz) for side, end in sides])
        elif thing.thing == "tree":
            cx, cz = shift * (0.62 * thing.height)
            radius, turns = 0.3 * thing.height, [k * pi / 7 for k in range(14)]
            fill([(x + cx + radius * cos(a), z + cz + radius * sin(a)) for a in turns], 215)
        elif thing.thing == "fence":
            fill_wall(x, z, z + thing.length, thing.height, 150)
        else:
            (dx, dz), wide = shift * thing.height, 0.14
            fill([(x - wide, z), (x + wide, z), (x + wide + dx, z + dz), (x - wide + dx, z + dz)])
    soft = picture.filter(ImageFilter.BoxBlur(camera.width / 600))
    shadow = np.asarray(soft, dtype=np.float32) * np.float32(1 / 255)
    return np.repeat(np.repeat(shadow, 2, axis=0), 2, axis=1)


def _phase(x: Floats, period: float) -> Floats:
    """``x`` modulo a period; several times faster than the ``%`` operator."""
    turns = x * np.float32(1 / period)
    return np.asarray((turns - np.floor(turns)) * np.float32(period))


_STREETS = np.array([Street.ROAD, Street.SIDEWALK, Street.VEGETATION, Street.SIDEWALK], np.uint8)


def paint_ground(
    pixels: Floats, ids: Ids, camera: Camera, scene: Scene, light: Light, shadow: Floats
) -> None:
    """Fill the rows below the horizon: road with markings, sidewalks and lawn, with shadows."""
    first = int(camera.horizon) + 1
    rows, columns = centers(first, camera.height)[:, None], centers(0, camera.width)[None, :]
    z = camera.focal * camera.altitude / (rows - camera.horizon)
    x = (columns - camera.vanishing) * (z / camera.focal)
    scale = camera.focal / z

    left, right = scene.road
    outside = np.maximum(left - x, x - right)
    start, end = scene.junction or (np.inf, np.inf)
    crossing = (z > start) & (z < end)
    is_road = (outside < 0) | crossing
    sides = zip(scene.kinds, scene.sidewalk, strict=True)
    beyond = [np.float32(np.inf if kind == "city" else walk) for kind, walk in sides]
    is_lawn = (outside > np.where(x < 0, *beyond)) & ~crossing

    # 0 road, 1 sidewalk, 2 lawn, 3 kerb
    material = np.where(is_road, 0, 1).astype(np.uint8)
    material[is_lawn] = 2
    material[~is_road & (outside < 0.22)] = 3
    ids[first:] = np.take(_STREETS, material)
    rng = np.random.default_rng(scene.seed)
    gray, warm, slab = rng.uniform(78, 112), rng.uniform(-4, 6), rng.uniform(140, 180)
    albedo = np.array(
        [(gray + warm, gray, gray - warm + 3), (slab + 6, slab, slab - 8), (92, 122, 58),
         (slab + 28, slab + 26, slab + 22)], dtype=np.float32,
    )  # fmt: skip

    near = np.clip(1.25 - z / 30, 0.12, 1)
    # Large patches are smooth, so half the columns suffice.
    patches = sample(1.5, z * 9, x[:, ::2] * 22).repeat(2, axis=1)[:, : camera.width]
    tone = 0.07 * near * sample(0.4, z * 28, x * 28) + 0.06 * patches
    tone *= np.take(np.array((1, 0.6, 2.2, 0.5), dtype=np.float32), material)
    joints = (z % 1.3 < 0.07) | (_phase(x, 0.9) < 0.05)
    tone -= 0.14 * near * (joints & (material == 1))
    # Wheels darken two tracks per lane.
    tracks = np.abs(np.abs(_phase(x + 1.8, 3.5) - 1.75) - 0.75)
    tone -= 0.05 * np.clip(1 - tracks * 2.5, 0, 1) * (material == 0)
    colors = np.take(albedo.T, material, axis=1)
    colors *= 1 + tone

    marks = np.zeros_like(x)
    if rng.random() < 0.85:
        phase = rng.uniform(0, 6)
        for lane in (-1.8, -5.2)[: 1 + (left < -7)]:
            dash = ((z + phase) % 6 < 3) & ~crossing
            marks += np.clip((0.07 - np.abs(x - lane)) * scale + 0.5, 0, 1) * dash
    if scene.zebra:
        stripe = np.clip((0.25 - np.abs(_phase(x, 1.0) - 0.5)) * scale + 0.5, 0, 1)
        marks += stripe * ((z > start - 4.2) & (z < start - 1.6) & (outside < -0.2))
    marked = np.nonzero((marks > 0) & is_road)
    worn = 0.85 + 0.35 * sample(0.8, z[marked[0], 0] * 20, x[marked] * 20)
    cover = np.minimum(marks[marked], 1) * np.clip(worn, 0.15, 1) * 0.85
    bare = colors[:, marked[0], marked[1]]
    colors[:, marked[0], marked[1]] += cover * (channels((226, 226, 218))[:, 0] - bare)

    sunlit, shaded = light.on((0, 1, 0)), light.on((0, 1, 0), shadow=1.0)
    colors *= sunlit + shadow[first:] * (shaded - sunlit)
    pixels[:, first:] = light.haze_over(colors, z)


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
_STEP = 0.03  # up a wall, materials are told apart to this many meters


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
    """The material at each pixel of a wall, by its meters ``along`` (1, columns) and up (h, w)."""
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

    row = np.clip((y * np.float32(1 / _STEP) + 1).astype(np.int32), 0, len(up) - 1)
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
    # Reflections in a window vary more than a wall.
    tone = (0.05 * texture + np.minimum(0.05 * y - 0.12, 0)) * np.take(_CONTRAST, material)
    colors: Floats = np.take(style.albedo.T * gains, material, axis=1) * (tone + 1)
    return colors


def _side_wall(b: Brush, house: Building, style: _Style) -> None:
    """Draw the facade along the street."""
    seen = b.camera.curtain(house.x, house.z1, house.z2, house.height)
    if seen is not None:
        first, top, z, y = seen
        normal, long = (-copysign(1, house.x), 0.0, 0.0), house.z2 - house.z1
        colors = _wall(style, b.light, normal, z - house.z1, y, long, house.height)
        inside = (y >= 0) & (y <= house.height)
        b.paste(first, top, b.light.haze_over(colors, z), inside, Street.BUILDING)


def _front_wall(b: Brush, x1: float, x2: float, z: float, height: float, style: _Style) -> None:
    """Draw a wall that faces the camera, from x1 to x2 at one distance."""
    camera = b.camera
    left, top = camera.project(x1, height, z)
    right, bottom = camera.project(x2, 0, z)
    first, last = (min(max(round(u), 0), camera.width) for u in (left, right))
    above, below = (min(max(round(v), 0), camera.height) for v in (top, bottom))
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
    slope = [(x + 3.5 * side * up, height + 2.6 * up, z)
             for up, z in ((0, z1), (0, z2), (1, z2), (1, z1))]  # fmt: skip
    color = b.light.paint(tiles, (2 * z1 + z2) / 3, b.light.facing((-side * 0.6, 0.8, 0)), 0)
    b.polygon(b.camera.outline(slope), color, Street.BUILDING)


def draw_houses(b: Brush, scene: Scene) -> None:
    """Draw the end of the street, then every house from far to near."""
    for k in range(7):
        height = 7 + 9 * ((scene.seed >> k) % 8) / 7
        style = _draw_style(scene.seed + k, False, b.light)
        _front_wall(b, 17 * k - 60, 17 * k - 43, FAR + 5, height, style)
    for house in scene.buildings:
        style = _draw_style(house.seed, house.height < 7.5, b.light)
        x1, x2 = sorted((house.x, house.x + copysign(9, house.x)))
        _front_wall(b, x1, x2, house.z1, house.height, style)
        if style.pitched:
            _roof(b, house, style)
        _side_wall(b, house, style)
