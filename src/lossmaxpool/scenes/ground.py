"""Sky and ground, shaded per pixel, and the shadows on the ground."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lossmaxpool.scenes.layout import Scene, Street
from lossmaxpool.scenes.view import NEAR, Camera, Floats, Ids, Light, centers, channels, sample


def paint_sky(pixels: Floats, camera: Camera, light: Light, seed: int) -> None:
    """Fill the rows above the horizon: a gradient, a glow around the sun, clouds from a seed."""
    # The sky is smooth, so half the resolution suffices.
    rows = int(camera.horizon) // 2 + 2
    height = np.linspace(1, 0, rows)[:, None]
    rise = (height**0.7).astype(np.float32)
    height = height.astype(np.float32)
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

    right, up, forward = light.direction
    if forward > 0.2 and light.sun[0] > 0.2:
        aside = columns - camera.focal * right / forward
        lines = 2 * np.arange(rows, dtype=np.float32)[:, None]
        above = lines - (camera.horizon - camera.focal * up / forward)
        far = np.sqrt(aside * aside + above * above) / camera.width
        sky += np.exp(far.astype(np.float64) * -5).astype(np.float32) * 70 * channels(light.sun)
    pixels[:, : 2 * rows] = sky.repeat(2, axis=1).repeat(2, axis=2)


# Half the width of an object's shadow; 0.22 for other objects.
_WIDE = {"lamp": 0.1, "sign": 0.08, "light": 0.1, "bollard": 0.09}


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
        elif thing.thing in ("fence", "hedge"):
            strength = 150 if thing.thing == "fence" else 255
            fill_wall(x, z, z + thing.length, thing.height, strength)
        else:
            (dx, dz), wide = shift * thing.height, _WIDE.get(thing.thing, 0.22)
            fill([(x - wide, z), (x + wide, z), (x + wide + dx, z + dz), (x - wide + dx, z + dz)])
    soft = picture.filter(ImageFilter.BoxBlur(camera.width / 600))
    half_size: Floats = np.asarray(soft, dtype=np.float32) * np.float32(1 / 255)
    return half_size.repeat(2, axis=0).repeat(2, axis=1)


def _phase(x: Floats, period: float) -> Floats:
    """``x`` modulo a period; several times faster than the ``%`` operator."""
    turns = x * np.float32(1 / period)
    turns -= np.floor(turns)
    phase: Floats = turns * np.float32(period)
    return phase


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
    crossing = np.zeros_like(z, dtype=bool)
    if scene.junction is not None:
        crossing = (z > scene.junction[0]) & (z < scene.junction[1])
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
    gray, warm = rng.uniform(78, 112), rng.uniform(-4, 6)
    slab = rng.uniform(140, 180)
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
        for lane in scene.lanes:
            dash = ((z + phase) % 6 < 3) & ~crossing
            marks += np.clip((0.07 - np.abs(x - lane)) * scale + 0.5, 0, 1) * dash
    if rng.random() < 0.4:
        for border in (left + 0.35, right - 0.35):
            marks += np.clip((0.06 - np.abs(x - border)) * scale + 0.5, 0, 1) * ~crossing
    if scene.zebra and scene.junction is not None:
        stripe = np.clip((0.25 - np.abs(_phase(x, 1.0) - 0.5)) * scale + 0.5, 0, 1)
        before = scene.junction[0] - z
        marks += stripe * ((before < 4.2) & (before > 1.6) & (outside < -0.2))
    marked = np.nonzero((marks > 0) & is_road)
    worn = 0.85 + 0.35 * sample(0.8, z[marked[0], 0] * 20, x[marked] * 20)
    cover = np.minimum(marks[marked], 1) * np.clip(worn, 0.15, 1) * 0.85
    bare = colors[:, marked[0], marked[1]]
    colors[:, marked[0], marked[1]] += cover * (channels((226, 226, 218))[:, 0] - bare)

    sunlit, shaded = light.on((0, 1, 0)), light.on((0, 1, 0), shadow=1.0)
    colors *= sunlit + shadow[first:] * (shaded - sunlit)
    pixels[:, first:] = light.haze_over(colors, z)
