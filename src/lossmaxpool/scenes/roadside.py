"""Objects along the street: posts, signs, lights, fences, bins, trees and hedges."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import cos, pi, sin

import numpy as np
from PIL import Image

from lossmaxpool.scenes.layout import VOID, Street, Thing, pick
from lossmaxpool.scenes.view import NEAR, RGB, Brush, Color, Point, channels, dim, sample

_METAL: tuple[RGB, ...] = ((186, 190, 192), (52, 58, 58), (206, 208, 208), (40, 50, 46))
"""Galvanized or painted dark: so that a post contrasts with the houses behind it."""


def _post(b: Brush, width: float, height: float, color: Color) -> None:
    """Draw an upright post at least two pixels wide, so that it is visible in the mask."""
    half, top = max(1.0, width * b.scale / 2), b.ground - height * b.scale
    b.box(b.x - half, top, b.x + half - 1, b.ground, color, Street.POLE)
    if half > 1.5:  # a sunlit edge makes it look round
        bright = (min(255, color[0] + 28), min(255, color[1] + 28), min(255, color[2] + 26))
        b.box(b.x - half, top, b.x - 0.3 * half, b.ground, bright)


def draw_lamp(b: Brush) -> None:
    """Draw a street lamp whose arm reaches over the road."""
    color = b.paint(pick(b.rng, _METAL), 0.4)
    _post(b, b.rng.uniform(0.17, 0.24), b.thing.height, color)
    top, end = b.ground - b.thing.height * b.scale, b.x - b.thing.side * 1.3 * b.scale
    arm = [(b.x, top), (end, top - 0.25 * b.scale)]
    b.line(arm, max(2.0, 0.12 * b.scale), color, Street.POLE)
    head = (250, 226, 170) if b.light.lamps else b.paint((206, 208, 206), 0.3)
    size = max(1.5, 0.34 * b.scale), max(1.2, 0.13 * b.scale)
    b.ellipse((end, top - 0.2 * b.scale), *size, head, Street.POLE)


def draw_bollard(b: Brush) -> None:
    """Draw a bollard."""
    _post(b, 0.17, b.thing.height, b.paint((60, 62, 64), 0.4))


def draw_sign(b: Brush) -> None:
    """Draw a traffic sign on its post: round, triangular, square, octagonal or an arrow board."""
    _post(b, 0.1, b.thing.height, b.paint((200, 202, 204), 0.4))
    r = max(2.0, b.rng.uniform(0.34, 0.46) * b.scale)
    x, y = center = (b.x, b.ground - (b.thing.height - 0.1) * b.scale)
    albedos: tuple[RGB, ...] = ((196, 28, 36), (240, 240, 236), (28, 82, 168), (30, 30, 30))
    red, white, blue, black = (b.paint(albedo, 0.75) for albedo in albedos)
    kinds = ("limit", "limit", "no entry", "warning", "yield", "stop", "park", "way", "blank")
    kind = pick(b.rng, kinds)

    def regular(corners: int, size: float, turn: float) -> list[Point]:
        angles = [turn + 2 * pi * k / corners for k in range(corners)]
        return [(x + size * r * sin(a), y - size * r * cos(a)) for a in angles]

    def box(x1: float, y1: float, x2: float, y2: float, color: Color,
            street: int | None = None) -> None:  # fmt: skip
        b.box(x + x1 * r, y + y1 * r, x + x2 * r, y + y2 * r, color, street)

    if kind in ("limit", "no entry"):
        b.ellipse(center, r, r, red, Street.TRAFFIC_SIGN)
        if kind == "limit":
            b.ellipse(center, r * 0.7, r * 0.7, white)
            for digit in (-0.37, 0.13):
                box(digit, -0.35, digit + 0.22, 0.35, black)
        else:
            box(-0.65, -0.16, 0.65, 0.16, white)
    elif kind in ("warning", "yield"):
        turn = 0.0 if kind == "warning" else pi
        b.polygon(regular(3, 1.2, turn), red, Street.TRAFFIC_SIGN)
        b.polygon(regular(3, 0.72, turn), white)
    elif kind == "stop":
        b.polygon(regular(8, 1.05, pi / 8), red, Street.TRAFFIC_SIGN)
        box(-0.6, -0.18, 0.6, 0.18, white)
    elif kind == "blank":  # the back of a sign for the other direction
        b.ellipse(center, r, r, b.paint((128, 130, 132), 0.75), Street.TRAFFIC_SIGN)
    elif kind == "park":
        box(-1, -1, 1, 1, blue, Street.TRAFFIC_SIGN)
        b.line([(x - 0.3 * r, y + 0.6 * r), (x - 0.3 * r, y - 0.6 * r)], 0.25 * r, white)
        b.ring((x, y - 0.25 * r), 0.4 * r, 0.38 * r, round(0.22 * r), white)
    else:
        board: RGB = pick(b.rng, ((232, 196, 40), (28, 82, 168), (24, 110, 70)))
        box(-1.7, -0.6, 1.7, 0.5, b.paint(board, 0.75), Street.TRAFFIC_SIGN)
        for line in (-0.3, 0.1):
            box(-1.4, line, 0.9, line + 0.16, white)


_SIGNALS: tuple[tuple[Color, RGB], ...] = (
    ((255, 62, 48), (82, 26, 24)), ((255, 190, 50), (88, 66, 22)), ((70, 240, 150), (22, 70, 46)),
)  # fmt: skip


def draw_traffic_light(b: Brush) -> None:
    """Draw a traffic light on a post, sometimes with a second one over the road."""
    metal = b.paint(pick(b.rng, _METAL), 0.4)
    heads = [(b.x, b.thing.height)]
    if b.rng.random() < 0.4:
        height = b.rng.uniform(5.2, 6.0)
        _post(b, 0.2, height, metal)
        reach, top = -b.thing.side * b.rng.uniform(2.0, 3.6) * b.scale, b.ground - height * b.scale
        arm = [(b.x, top), (b.x + reach, top)]
        b.line(arm, max(2.0, 0.15 * b.scale), metal, Street.POLE)
        heads.append((b.x + reach, height + 0.35))
    else:
        _post(b, 0.17, b.thing.height, metal)
    state, facing = int(b.rng.random() * 3), b.rng.random() < 0.75
    for x, height in heads:
        half, top = max(2.5, 0.22 * b.scale), b.ground - height * b.scale
        bottom = b.ground - (height - 1.15) * b.scale
        housing = b.paint((30, 33, 32), 0.3)
        b.box(x - half, top, x + half - 1, max(bottom, top + 5), housing, Street.TRAFFIC_LIGHT)
        for k, (on, off) in enumerate(_SIGNALS if facing else ()):
            middle, radius = top + (0.19 + 0.31 * k) * (bottom - top), max(1.0, 0.135 * b.scale)
            color = on if k == state else b.paint(off, 0.3)
            b.ellipse((x - 0.5, middle), radius, radius, color)


def draw_fence(b: Brush) -> None:
    """Draw a fence along the street: boards, or bars with gaps.

    The mask is also filled between the bars, as in annotated data sets.
    """
    x, height = b.thing.x, b.thing.height
    z1, z2 = max(b.thing.z, NEAR), b.thing.z + b.thing.length
    wood = b.rng.random() < 0.4
    woods: tuple[RGB, ...] = ((142, 108, 76), (170, 150, 126), (226, 224, 216))
    facing = max(0.0, -b.light.direction[0] if x > 0 else b.light.direction[0])
    base = pick(b.rng, woods) if wood else pick(b.rng, _METAL)
    color = b.light.paint(base, (z1 + z2) / 2, facing, b.shadow)
    quad = b.camera.outline([(x, 0.05, z1), (x, height, z1), (x, height, z2), (x, 0.05, z2)])
    if wood:
        b.polygon(quad, color, Street.FENCE)
        color = (color[0] * 2 // 3, color[1] * 2 // 3, color[2] * 2 // 3)
    else:
        b.fill_mask(quad, Street.FENCE)  # the picture shows the background
        for y in (0.15, height - 0.03):
            rail = b.camera.outline([(x, y, z1), (x, y, z2)])
            b.line(rail, 0.05 * b.camera.scale(z1 + 2), color)
    z = z1
    while z < z2:
        bar = b.camera.outline([(x, 0.05, z), (x, height, z)])
        b.line(bar, (0.02 if wood else 0.035) * b.camera.scale(z), color)
        # Bars closer than two pixels would alias.
        z += max(0.16, 2.5 * z * z / (b.camera.focal * abs(x)))


def draw_bin(b: Brush) -> None:
    """Draw a bin or a box, which is unlabeled."""
    base: RGB = pick(b.rng, ((52, 92, 62), (70, 74, 78), (214, 176, 40), (60, 70, 110)))
    half, height = b.rng.uniform(0.22, 0.34) * b.scale, b.rng.uniform(0.8, 1.25) * b.scale
    color, dark = b.paint(base), b.paint(dim(base, 0.6))
    x, top = b.x, b.ground - height
    b.box(x - half, top, x + half, b.ground, color, VOID)
    b.box(x - half * 1.1, top, x + half * 1.1, top + 0.15 * height, dark, VOID)
    b.box(x - half * 0.5, top + 0.4 * height, x + half * 0.5, top + 0.65 * height, dark)


_CROWN = 128
"""Side of a crown's maps in pixels."""
_BARK: tuple[RGB, ...] = ((92, 74, 58), (110, 98, 84), (70, 58, 48))
_LEAVES: tuple[RGB, ...] = (
    (88, 118, 50), (74, 104, 52), (104, 128, 56), (66, 92, 50), (122, 134, 62), (156, 122, 52),
)  # fmt: skip


@cache
def _crown(kind: int, from_right: bool) -> Image.Image:
    """A tree crown as one picture of shape, tone, and tone times sunlight (x 200)."""
    u = np.linspace(-1.5, 1.5, _CROWN, dtype=np.float32)[None, :]
    v = np.linspace(-1.4, 1.4, _CROWN, dtype=np.float32)[:, None]
    clumps = sample(1.3, v * 26 + 64 + 37 * kind, u * 26 + 64 + 91 * kind)
    leaves = sample(0.6, v * 30 + 64 + 53 * kind, u * 30 + 64 + 29 * kind)
    shape = u * u + v * v + 0.16 * clumps + 0.10 * leaves < 0.92
    # Holes that show the sky.
    shape &= (clumps + 0.5 * leaves < 1.9) | (u * u + v * v < 0.2)
    sunny = 0.30 * u * (1 if from_right else -1)
    lit = np.clip(0.42 - 0.36 * v + sunny - 0.22 * clumps, 0, 1.1)
    tone = 0.80 + 0.17 * leaves - 0.06 * clumps
    maps = np.stack([255 * shape, 200 * tone, 200 * tone * lit], axis=-1)
    return Image.fromarray(np.clip(maps, 0, 255).astype(np.uint8))


def draw_tree(b: Brush) -> None:
    """Draw a trunk and a crown."""
    size, rng, light = b.thing.height * b.scale, b.rng, b.light
    bark = b.paint(pick(rng, _BARK), 0.4)
    trunk, fork = max(2.0, rng.uniform(0.022, 0.034) * size), b.ground - 0.5 * size
    b.line([(b.x, b.ground), (b.x, fork)], trunk, bark, Street.VEGETATION)
    for lean in (-0.1, 0.12):
        bough = [(b.x, fork + 0.08 * size), (b.x + lean * size, fork - 0.15 * size)]
        b.line(bough, trunk * 0.6, bark, Street.VEGETATION)
    ry = rng.uniform(0.29, 0.36) * size
    rx = ry * rng.uniform(0.85, 1.2)
    center = b.ground - 0.66 * size
    left, right = max(0, int(b.x - 1.5 * rx)), min(b.camera.width, int(b.x + 1.5 * rx) + 1)
    top, bottom = max(0, int(center - 1.4 * ry)), min(b.camera.height, int(center + 1.4 * ry) + 1)
    if left >= right or top >= bottom:
        return
    # Position of the visible part within the crown's square.
    x1, x2 = (_CROWN * min(max((u - b.x) / (3 * rx) + 0.5, 0.0), 1.0) for u in (left, right))
    y1, y2 = (_CROWN * min(max((v - center) / (2.8 * ry) + 0.5, 0.0), 1.0) for v in (top, bottom))
    crown = _crown(b.thing.seed % 12, light.direction[0] > 0)
    visible = (right - left, bottom - top)
    maps = crown.resize(visible, Image.Resampling.BILINEAR, (x1, y1, x2, y2))
    shape, tone, lit = (np.asarray(channel) for channel in maps.split())
    base = channels(pick(rng, _LEAVES)) * np.float32(rng.uniform(0.85, 1.1) / 200)
    color = tone * (base * channels(light.ambient))
    color += lit * (base * channels(light.sun) * np.float32(1 - 0.7 * b.shadow))
    b.paste(left, top, light.haze_over(color, b.thing.z), shape > 127, Street.VEGETATION)


def draw_hedge(b: Brush) -> None:
    """Draw a trimmed hedge along the street."""
    hedge, seed = b.thing, b.thing.seed % 256
    seen = b.camera.curtain(hedge.x, hedge.z, hedge.z + hedge.length, 1.2 * hedge.height)
    if seen is not None:
        first, top, z, y = seen
        bumps = 0.06 * sample(1.0, np.full_like(z, seed), z * 12)
        tone = 0.72 + 0.18 * sample(0.6, y * 26 + seed, z * 22)
        tone += 0.28 * np.clip(y / hedge.height, 0, 1)
        light = b.light.on((-1.0 if hedge.x > 0 else 1.0, 0.0, 0.0), b.shadow)
        color = b.light.haze_over(channels((78, 106, 50)) * light * tone, z)
        inside = (y >= 0) & (y <= hedge.height * (1 + bumps))
        b.paste(first, top, color, inside, Street.VEGETATION)


DRAW: dict[Thing, Callable[[Brush], None]] = {
    "lamp": draw_lamp, "bollard": draw_bollard, "sign": draw_sign, "light": draw_traffic_light,
    "fence": draw_fence, "bin": draw_bin, "tree": draw_tree, "hedge": draw_hedge,
}  # fmt: skip
