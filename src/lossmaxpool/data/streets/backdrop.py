"""Sky and ground, shaded pixel by pixel."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lossmaxpool.data.streets.camera import NEAR, Camera
from lossmaxpool.data.streets.classes import Street
from lossmaxpool.data.streets.layout import Scene
from lossmaxpool.data.streets.light import Light
from lossmaxpool.data.streets.noise import Floats, channels, sample


def paint_sky(pixels: Floats, camera: Camera, light: Light, seed: int) -> None:
    """Fills the rows above the horizon: a gradient, a glow around the sun, clouds.

    Args:
        pixels: (3, H, W) float32, written.
        camera: where the horizon is.
        light: colours of the sky.
        seed: of the clouds.
    """
    # The sky is smooth: half the resolution shows it all.
    rows = int(camera.horizon) // 2 + 2
    height = np.linspace(1, 0, rows, dtype=np.float32)[:, None]
    zenith, horizon = channels(light.zenith), channels(light.horizon)
    sky = horizon + (zenith - horizon) * height**0.7

    # Clouds shrink towards the horizon, as a flat layer overhead does.
    depth = 1 / (height + 0.22)
    columns = 2 * np.arange(camera.width // 2, dtype=np.float32)[None, :] - camera.vanishing
    across = columns * depth * (70 / camera.width) + seed % 251
    along = depth * 60 + seed % 241
    texture = sample(1.7, along, across) + 0.25 * sample(1.0, along * 2, across * 2)
    cover = np.clip((texture + 2.6 * light.clouds - 1.5) * 0.55, 0, 1) * np.clip(height * 5, 0, 1)
    white = np.clip(horizon * 0.6 + 118, 0, 255) if light.clouds < 0.7 else horizon * 0.97
    shading = 1 - 0.10 * np.clip(texture, 0, 2.5)
    sky = sky + 0.85 * cover * (white * shading - sky)

    right, up, forward = light.direction
    if forward > 0.2 and light.sun[0] > 0.2:
        column = camera.vanishing + camera.focal * right / forward
        row = camera.horizon - camera.focal * up / forward
        lines = 2 * np.arange(rows, dtype=np.float32)[:, None]
        far = np.hypot(columns + camera.vanishing - column, lines - row) / camera.width
        sky += np.exp(-far * 5) * 70 * channels(light.sun)
    pixels[:, : 2 * rows] = sky.repeat(2, axis=1).repeat(2, axis=2)


def cast_shadows(camera: Camera, scene: Scene, light: Light) -> Floats:
    """Where the sun does not reach the ground.

    Args:
        camera: the view.
        scene: what casts shadows.
        light: the sun's direction.

    Returns:
        (H, W) float32: 0 in the sun, 1 in shadow.
    """
    right, up, forward = light.direction
    shift = np.array([-right, -forward]) / max(up, 0.25)
    # Penumbras are soft: half the resolution shows them.
    picture = Image.new("L", (camera.width // 2, camera.height // 2))
    ink = ImageDraw.Draw(picture)

    def fill(ground: list[tuple[float, float]], strength: int = 255) -> None:
        outline = [camera.project(x, 0, max(z, NEAR)) for x, z in ground]
        ink.polygon([(u / 2, v / 2) for u, v in outline], fill=strength)

    for house in scene.buildings:
        dx, dz = shift * house.height
        # Only a shadow that falls towards the street is seen.
        if dx * house.x < 0:
            fill([
                (house.x, house.z1), (house.x, house.z2),
                (house.x + dx, house.z2 + dz), (house.x + dx, house.z1 + dz),
            ])  # fmt: skip
    for thing in scene.objects:
        x, z = thing.x, thing.z
        dx, dz = shift * thing.height
        if thing.thing == "car":
            for y, grow in ((0.0, 0.1), (0.9, 0.0), (1.4, -0.2)):
                sx, sz = shift * y
                w = 0.85 + grow
                fill([
                    (x - w + sx, z + sz), (x + w + sx, z + sz),
                    (x + w + sx, z + thing.length + sz), (x - w + sx, z + thing.length + sz),
                ])  # fmt: skip
        elif thing.thing == "tree":
            cx, cz = shift * (0.62 * thing.height)
            radius = 0.3 * thing.height
            circle = [
                (x + cx + radius * cos(k * pi / 7), z + cz + radius * sin(k * pi / 7))
                for k in range(14)
            ]
            fill(circle, 215)
        elif thing.thing in ("fence", "hedge"):
            fill([
                (x, z), (x, z + thing.length), (x + dx, z + thing.length + dz), (x + dx, z + dz)
            ], 150 if thing.thing == "fence" else 255)  # fmt: skip
        else:
            wide = {"lamp": 0.07, "sign": 0.06, "light": 0.08, "bollard": 0.07}.get(
                thing.thing, 0.22
            )
            fill([(x - wide, z), (x + wide, z), (x + wide + dx, z + dz), (x - wide + dx, z + dz)])
    soft = picture.filter(ImageFilter.BoxBlur(camera.width / 600))
    half: Floats = np.asarray(soft, dtype=np.float32) * np.float32(1 / 255)
    return half.repeat(2, axis=0).repeat(2, axis=1)


def _phase(x: Floats, period: float) -> Floats:
    """X modulo a period; several times faster than the operator."""
    turns = x * np.float32(1 / period)
    turns -= np.floor(turns)
    phase: Floats = turns * np.float32(period)
    return phase


def paint_ground(
    pixels: Floats,
    ids: NDArray[np.uint8],
    camera: Camera,
    scene: Scene,
    light: Light,
    shadow: Floats,
) -> None:
    """Fills the rows below the horizon: road with its marks, sidewalks, lawn.

    Args:
        pixels: (3, H, W) float32, written.
        ids: (H, W) uint8, written.
        camera: the view.
        scene: where the road runs.
        light: of the scene.
        shadow: (H, W) float32, 0 in the sun and 1 in shadow.
    """
    first = int(camera.horizon) + 1
    rows = np.arange(first, camera.height, dtype=np.float32)[:, None] + 0.5
    columns = np.arange(camera.width, dtype=np.float32)[None, :] + 0.5
    z = camera.focal * camera.altitude / (rows - camera.horizon)
    x = (columns - camera.vanishing) * (z / camera.focal)
    scale = camera.focal / z

    left, right = scene.road
    outside = np.maximum(left - x, x - right)
    crossing = np.zeros_like(z, dtype=bool)
    if scene.junction is not None:
        crossing = (z > scene.junction[0]) & (z < scene.junction[1])
    is_road = (outside < 0) | crossing
    beyond = [
        np.inf if kind == "city" else walk
        for kind, walk in zip(scene.kinds, scene.sidewalk, strict=True)
    ]
    is_lawn = (outside > np.where(x < 0, *np.array(beyond, dtype=np.float32))) & ~crossing

    # 0 road, 1 sidewalk, 2 lawn, 3 kerb
    kerb = ~is_road & (outside < 0.22)
    material = np.where(is_road, 0, 1).astype(np.uint8)
    material[is_lawn] = 2
    classes = np.array([Street.ROAD, Street.SIDEWALK, Street.VEGETATION], dtype=np.uint8)
    ids[first:] = np.take(classes, material)
    material[kerb] = 3
    rng = np.random.default_rng(scene.seed)
    grey, warm = rng.uniform(78, 112), rng.uniform(-4, 6)
    slab = rng.uniform(140, 180)
    albedo = np.array(
        [
            (grey + warm, grey, grey - warm + 3),
            (slab + 6, slab, slab - 8),
            (92, 122, 58),
            (slab + 28, slab + 26, slab + 22),
        ],
        dtype=np.float32,
    )

    near = np.clip(1.25 - z / 30, 0.12, 1)
    # Large patches are smooth: half the columns show them.
    patches = sample(1.5, z * 9, x[:, ::2] * 22).repeat(2, axis=1)
    tone = 0.07 * near * sample(0.4, z * 28, x * 28) + 0.06 * patches
    tone *= np.take(np.array((1, 0.6, 2.2, 0.5), dtype=np.float32), material)
    joints = (z % 1.3 < 0.07) | (_phase(x, 0.9) < 0.05)
    tone -= 0.14 * near * (joints & (material == 1))
    # Wheels polish and darken two tracks per lane.
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
        start = scene.junction[0]
        marks += stripe * ((z > start - 4.2) & (z < start - 1.6) & (outside < -0.2))
    marked = np.nonzero((marks > 0) & is_road)
    across, ahead = x[marked], z[marked[0], 0]
    worn = np.clip(0.85 + 0.35 * sample(0.8, ahead * 20, across * 20), 0.15, 1)
    cover = np.minimum(marks[marked], 1) * worn * 0.85
    bare = colors[:, marked[0], marked[1]]
    colors[:, marked[0], marked[1]] += cover * (channels((226, 226, 218))[:, 0] - bare)

    sunlit, shaded = light.on((0, 1, 0)), light.on((0, 1, 0), shadow=1.0)
    colors *= sunlit + shadow[first:] * (shaded - sunlit)
    clear = np.exp(-light.density * z)
    np.multiply(colors, clear, out=pixels[:, first:])
    pixels[:, first:] += (1 - clear) * channels(light.haze)
