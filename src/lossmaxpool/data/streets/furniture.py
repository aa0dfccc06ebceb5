"""Lamps, signs, traffic lights, fences, bollards and bins."""

from __future__ import annotations

from math import cos, pi, sin
from random import Random

import numpy as np

from lossmaxpool.data.streets.camera import NEAR, Camera, Point
from lossmaxpool.data.streets.canvas import Canvas, Color
from lossmaxpool.data.streets.classes import Street
from lossmaxpool.data.streets.layout import Object
from lossmaxpool.data.streets.light import RGB, Light
from lossmaxpool.data.streets.noise import pick

_METAL: tuple[RGB, ...] = ((120, 124, 126), (86, 90, 92), (150, 152, 152), (58, 66, 62))


def _post(
    canvas: Canvas, camera: Camera, thing: Object, width: float, height: float, color: Color
) -> None:
    """An upright post of at least two pixels, so that it survives in the mask."""
    x, ground = camera.project(thing.x, 0, thing.z)
    half = max(1.0, width * camera.scale(thing.z) / 2)
    top = ground - height * camera.scale(thing.z)
    canvas.box(x - half, top, x + half - 1, ground, color, Street.POLE)
    if half > 1.5:  # a sunlit edge makes it round
        bright = (min(255, color[0] + 28), min(255, color[1] + 28), min(255, color[2] + 26))
        canvas.box(x - half, top, x - half + 0.7 * half, ground, bright)


def draw_lamp(canvas: Canvas, camera: Camera, lamp: Object, light: Light, shadow: float) -> None:
    """Draws a street lamp whose arm reaches over the road."""
    rng = Random(lamp.seed)
    scale = camera.scale(lamp.z)
    color = light.paint(pick(rng, _METAL), lamp.z, 0.4, shadow)
    _post(canvas, camera, lamp, rng.uniform(0.13, 0.2), lamp.height, color)
    x, ground = camera.project(lamp.x, 0, lamp.z)
    top, reach = ground - lamp.height * scale, -lamp.side * 1.3 * scale
    canvas.line(
        [(x, top), (x + reach, top - 0.25 * scale)], max(2.0, 0.09 * scale), color, Street.POLE
    )
    head = (250, 226, 170) if light.lamps else light.paint((206, 208, 206), lamp.z, 0.3)
    end: Point = (x + reach, top - 0.2 * scale)
    canvas.ellipse(end, max(1.5, 0.32 * scale), max(1.0, 0.11 * scale), head, Street.POLE)


def draw_bollard(
    canvas: Canvas, camera: Camera, bollard: Object, light: Light, shadow: float
) -> None:
    """Draws a bollard."""
    color = light.paint((70, 72, 74), bollard.z, 0.4, shadow)
    _post(canvas, camera, bollard, 0.13, bollard.height, color)


def draw_sign(canvas: Canvas, camera: Camera, sign: Object, light: Light, shadow: float) -> None:
    """Draws a traffic sign on its post: round, triangular, square, octagonal or an arrow board."""
    rng = Random(sign.seed)
    scale = camera.scale(sign.z)
    metal = light.paint((140, 142, 144), sign.z, 0.4, shadow)
    _post(canvas, camera, sign, 0.075, sign.height, metal)
    x, ground = camera.project(sign.x, 0, sign.z)
    radius = max(2.0, rng.uniform(0.32, 0.44) * scale)
    center: Point = (x, ground - (sign.height - 0.1) * scale)

    def paint(base: RGB) -> Color:
        return light.paint(base, sign.z, 0.75, shadow)

    red, white, blue, black = (
        paint((196, 28, 36)),
        paint((240, 240, 236)),
        paint((28, 82, 168)),
        paint((30, 30, 30)),
    )

    def regular(corners: int, size: float, turn: float) -> list[Point]:
        angles = [turn + 2 * pi * k / corners for k in range(corners)]
        return [(center[0] + size * sin(a), center[1] - size * cos(a)) for a in angles]

    kind = pick(
        rng, ("limit", "limit", "no entry", "warning", "yield", "stop", "park", "way", "blank")
    )
    if kind in ("limit", "no entry"):
        canvas.ellipse(center, radius, radius, red, Street.TRAFFIC_SIGN)
        if kind == "limit":
            canvas.ellipse(center, radius * 0.7, radius * 0.7, white)
            for offset in (-0.27, 0.23):
                canvas.box(
                    x + (offset - 0.1) * radius, center[1] - 0.35 * radius,
                    x + (offset + 0.12) * radius, center[1] + 0.35 * radius, black,
                )  # fmt: skip
        else:
            canvas.box(x - 0.65 * radius, center[1] - 0.16 * radius, x + 0.65 * radius,
                       center[1] + 0.16 * radius, white)  # fmt: skip
    elif kind in ("warning", "yield"):
        turn = 0.0 if kind == "warning" else pi
        canvas.polygon(regular(3, radius * 1.2, turn), red, Street.TRAFFIC_SIGN)
        canvas.polygon(regular(3, radius * 0.72, turn), white)
    elif kind == "stop":
        canvas.polygon(regular(8, radius * 1.05, pi / 8), red, Street.TRAFFIC_SIGN)
        canvas.box(x - 0.6 * radius, center[1] - 0.18 * radius, x + 0.6 * radius,
                   center[1] + 0.18 * radius, white)  # fmt: skip
    elif kind == "blank":  # the back of a sign for the other direction
        canvas.ellipse(center, radius, radius, paint((128, 130, 132)), Street.TRAFFIC_SIGN)
    elif kind == "park":
        canvas.box(x - radius, center[1] - radius, x + radius, center[1] + radius, blue,
                   Street.TRAFFIC_SIGN)  # fmt: skip
        stem = x - 0.3 * radius
        canvas.line([(stem, center[1] + 0.6 * radius), (stem, center[1] - 0.6 * radius)],
                    0.25 * radius, white)  # fmt: skip
        canvas.ring((x, center[1] - 0.25 * radius), 0.4 * radius, 0.38 * radius,
                    round(0.22 * radius), white)  # fmt: skip
    else:
        board = paint(pick(rng, ((232, 196, 40), (28, 82, 168), (24, 110, 70))))
        canvas.box(x - 1.7 * radius, center[1] - 0.6 * radius, x + 1.7 * radius,
                   center[1] + 0.5 * radius, board, Street.TRAFFIC_SIGN)  # fmt: skip
        for line in (-0.3, 0.1):
            canvas.box(x - 1.4 * radius, center[1] + line * radius, x + 0.9 * radius,
                       center[1] + (line + 0.16) * radius, white)  # fmt: skip


def draw_traffic_light(
    canvas: Canvas, camera: Camera, signal: Object, light: Light, shadow: float
) -> None:
    """Draws a traffic light on a post, some with a second one over the road."""
    rng = Random(signal.seed)
    scale = camera.scale(signal.z)
    metal = light.paint(pick(rng, _METAL), signal.z, 0.4, shadow)
    x, ground = camera.project(signal.x, 0, signal.z)
    heads = [(x, signal.height)]
    if rng.random() < 0.4:
        height = rng.uniform(5.2, 6.0)
        _post(canvas, camera, signal, 0.16, height, metal)
        reach = -signal.side * rng.uniform(2.0, 3.6) * scale
        top = ground - height * scale
        canvas.line([(x, top), (x + reach, top)], max(2.0, 0.12 * scale), metal, Street.POLE)
        heads.append((x + reach, height + 0.35))
    else:
        _post(canvas, camera, signal, 0.13, signal.height, metal)
    state = int(rng.random() * 3)
    facing = rng.random() < 0.75
    for column, height in heads:
        half = max(2.0, 0.19 * scale)
        top, bottom = ground - height * scale, ground - (height - 1.05) * scale
        housing = light.paint((34, 38, 36), signal.z, 0.3, shadow)
        canvas.box(column - half, top, column + half - 1, max(bottom, top + 4), housing,
                   Street.TRAFFIC_LIGHT)  # fmt: skip
        if not facing:
            continue
        for k, (on, off) in enumerate((
            ((255, 62, 48), (82, 26, 24)), ((255, 190, 50), (88, 66, 22)),
            ((70, 240, 150), (22, 70, 46)),
        )):  # fmt: skip
            middle: Point = (column - 0.5, top + (0.19 + 0.31 * k) * (bottom - top))
            radius = max(0.8, 0.115 * scale)
            color: Color = on if k == state else light.paint(off, signal.z, 0.3)
            canvas.ellipse(middle, radius, radius, color)


def draw_fence(canvas: Canvas, camera: Camera, fence: Object, light: Light, shadow: float) -> None:
    """Draws a fence along the street: boards, or bars that one sees through.

    The mask is filled between the bars, as annotators do it.
    """
    rng = Random(fence.seed)
    x, z1, z2, height = fence.x, max(fence.z, NEAR), fence.z + fence.length, fence.height
    wood = rng.random() < 0.4
    base: RGB = (
        pick(rng, ((142, 108, 76), (170, 150, 126), (226, 224, 216))) if wood else pick(rng, _METAL)
    )
    right = light.direction[0]
    color = light.paint(base, (z1 + z2) / 2, max(0.0, -np.sign(x) * right), shadow)
    quad = camera.outline([(x, 0.05, z1), (x, height, z1), (x, height, z2), (x, 0.05, z2)])
    if wood:
        canvas.polygon(quad, color, Street.FENCE)
        color = (color[0] * 2 // 3, color[1] * 2 // 3, color[2] * 2 // 3)
    else:
        # Only the mask is filled: the picture shows what lies behind.
        canvas.fill_mask(quad, Street.FENCE)
        for y in (0.15, height - 0.03):
            canvas.line(
                camera.outline([(x, y, z1), (x, y, z2)]), 0.05 * camera.scale(z1 + 2), color
            )
    z = z1
    while z < z2:
        thick = (0.02 if wood else 0.035) * camera.scale(z)
        canvas.line(camera.outline([(x, 0.05, z), (x, height, z)]), thick, color)
        # Bars closer than two pixels would only flicker.
        z += max(0.16, 2.5 * z * z / (camera.focal * abs(x)))


def draw_bin(canvas: Canvas, camera: Camera, thing: Object, light: Light, shadow: float) -> None:
    """Draws a bin or a box, which belongs to no class."""
    rng = Random(thing.seed)
    scale = camera.scale(thing.z)
    x, ground = camera.project(thing.x, 0, thing.z)
    base = pick(rng, ((52, 92, 62), (70, 74, 78), (214, 176, 40), (60, 70, 110)))
    half, height = rng.uniform(0.22, 0.34) * scale, rng.uniform(0.8, 1.25) * scale
    color = light.paint(base, thing.z, 0.5, shadow)
    dark = light.paint((base[0] * 0.6, base[1] * 0.6, base[2] * 0.6), thing.z, 0.5, shadow)
    canvas.box(x - half, ground - height, x + half, ground, color, Street.VOID)
    canvas.box(
        x - half * 1.1, ground - height, x + half * 1.1, ground - 0.85 * height, dark, Street.VOID
    )
    canvas.box(x - half * 0.5, ground - 0.6 * height, x + half * 0.5, ground - 0.35 * height, dark)
