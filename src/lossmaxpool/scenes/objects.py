"""Objects in the street: posts, signs, lights, fences, bins, trees, cars, pedestrians, riders."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import cos, pi, sin

import numpy as np
from PIL import Image

from lossmaxpool.scenes.layout import VOID, Street, Thing, pick
from lossmaxpool.scenes.view import NEAR, RGB, Brush, Color, Point, channels, dim, sample

# Galvanized or painted dark, against the houses behind.
_METAL: tuple[RGB, ...] = ((186, 190, 192), (52, 58, 58), (206, 208, 208), (40, 50, 46))


def _post(b: Brush, width: float, height: float, color: Color) -> None:
    """Draw an upright post at least two pixels wide, so that it is visible in the mask."""
    half, top = max(1.0, width * b.scale / 2), b.ground - height * b.scale
    b.box(b.x - half, top, b.x + half - 1, b.ground, color, Street.POLE)
    if half > 1.5:  # a sunlit edge makes it look round
        r, g, bl = color
        b.box(b.x - half, top, b.x - 0.3 * half, b.ground, (r + 28, g + 28, bl + 26))


def draw_lamp(b: Brush) -> None:
    """Draw a street lamp whose arm reaches over the road."""
    color = b.paint(pick(b.rng, _METAL), 0.4)
    _post(b, b.rng.uniform(0.17, 0.24), b.thing.height, color)
    top, end = b.ground - b.thing.height * b.scale, b.x - b.thing.side * 1.3 * b.scale
    arm = [(b.x, top), (end, top - 0.25 * b.scale)]
    b.line(arm, max(2.0, 0.12 * b.scale), color, Street.POLE)
    head = (250, 226, 170) if b.light.lamps else b.paint((206, 208, 206), 0.3)
    wide, tall = max(1.5, 0.34 * b.scale), max(1.2, 0.13 * b.scale)
    b.ellipse((end, top - 0.2 * b.scale), wide, tall, head, Street.POLE)


def draw_sign(b: Brush) -> None:
    """Draw a traffic sign on its post: round, triangular, square, octagonal or a board."""
    _post(b, 0.12, b.thing.height, b.paint((200, 202, 204), 0.4))
    r = max(2.0, b.rng.uniform(0.34, 0.46) * b.scale)
    x, y = center = (b.x, b.ground - (b.thing.height - 0.1) * b.scale)
    red, white = b.paint((196, 28, 36), 0.75), b.paint((240, 240, 236), 0.75)
    kind = pick(b.rng, ("limit", "limit", "no entry", "warning", "yield", "stop", "way"))

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
                box(digit, -0.35, digit + 0.22, 0.35, b.paint((30, 30, 30), 0.75))
        else:
            box(-0.65, -0.16, 0.65, 0.16, white)
    elif kind in ("warning", "yield"):
        turn = 0.0 if kind == "warning" else pi
        b.polygon(regular(3, 1.2, turn), red, Street.TRAFFIC_SIGN)
        b.polygon(regular(3, 0.72, turn), white)
    elif kind == "stop":
        b.polygon(regular(8, 1.05, pi / 8), red, Street.TRAFFIC_SIGN)
        box(-0.6, -0.18, 0.6, 0.18, white)
    else:
        board: RGB = pick(b.rng, ((232, 196, 40), (28, 82, 168), (24, 110, 70)))
        box(-1.7, -0.6, 1.7, 0.5, b.paint(board, 0.75), Street.TRAFFIC_SIGN)
        for line in (-0.3, 0.1):
            box(-1.4, line, 0.9, line + 0.16, white)


_SIGNALS: tuple[tuple[Color, RGB], ...] = (
    ((255, 62, 48), (82, 26, 24)), ((255, 190, 50), (88, 66, 22)), ((70, 240, 150), (22, 70, 46)),
)  # fmt: skip


def draw_traffic_light(b: Brush) -> None:
    """Draw a traffic light on its post."""
    _post(b, 0.2, b.thing.height, b.paint(pick(b.rng, _METAL), 0.4))
    half, top = max(2.5, 0.24 * b.scale), b.ground - b.thing.height * b.scale
    bottom = max(top + 5, top + 1.25 * b.scale)
    housing = b.paint((30, 33, 32), 0.3)
    b.box(b.x - half, top, b.x + half - 1, bottom, housing, Street.TRAFFIC_LIGHT)
    state, facing = int(b.rng.random() * 3), b.rng.random() < 0.75
    for k, (on, off) in enumerate(_SIGNALS if facing else ()):
        middle, radius = top + (0.19 + 0.31 * k) * (bottom - top), max(1.0, 0.15 * b.scale)
        b.ellipse((b.x - 0.5, middle), radius, radius, on if k == state else b.paint(off, 0.3))


def draw_fence(b: Brush) -> None:
    """Draw a fence along the street: boards, or bars with gaps, which the mask fills."""
    x, height, wood = b.thing.x, b.thing.height, b.rng.random() < 0.4
    z1, z2 = max(b.thing.z, NEAR), b.thing.z + b.thing.length
    woods: tuple[RGB, ...] = ((142, 108, 76), (170, 150, 126), (226, 224, 216))
    facing = max(0.0, -b.light.direction[0] if x > 0 else b.light.direction[0])
    color = b.light.paint(pick(b.rng, woods if wood else _METAL), (z1 + z2) / 2, facing, b.shadow)
    quad = b.camera.outline([(x, 0.05, z1), (x, height, z1), (x, height, z2), (x, 0.05, z2)])
    b.mask_ink.polygon(quad, fill=Street.FENCE)
    if wood:
        b.polygon(quad, color)
        color = (color[0] * 2 // 3, color[1] * 2 // 3, color[2] * 2 // 3)
    for y in () if wood else (0.15, height - 0.03):
        b.line(b.camera.outline([(x, y, z1), (x, y, z2)]), 0.05 * b.camera.scale(z1 + 2), color)
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
    x, top, dark = b.x, b.ground - height, b.paint(dim(base, 0.6))
    b.box(x - half, top, x + half, b.ground, b.paint(base), VOID)
    b.box(x - half * 1.1, top, x + half * 1.1, top + 0.15 * height, dark, VOID)


_CROWN = 128  # side of a crown's maps in pixels
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


# fmt: off
_PAINTS: tuple[RGB, ...] = (
    (232, 232, 230), (190, 192, 196), (60, 62, 66), (36, 38, 42), (150, 30, 34), (34, 60, 112),
    (120, 124, 130), (92, 108, 124), (196, 178, 140), (52, 84, 70), (206, 210, 214), (176, 96, 40),
)
# Profiles of cars, in meters: start of the near window, near end of the roof, its far end and the
# end of the far window (both measured from the far end of the car); height of belt and roof.
_SEDAN = (0.55, 1.15, 1.95, 1.15, 0.92, 1.42)
_HATCH = (0.12, 0.55, 1.75, 1.0, 0.95, 1.50)
_WAGON = (0.10, 0.40, 1.75, 1.05, 0.98, 1.62)
_VAN = (0.04, 0.12, 1.10, 0.55, 1.15, 2.05)
_SKIN: tuple[RGB, ...] = ((236, 196, 164), (214, 168, 132), (168, 118, 84), (110, 74, 54))
_HAIR: tuple[RGB, ...] = ((38, 30, 26), (78, 54, 38), (150, 112, 66), (120, 118, 116))
_TOPS: tuple[RGB, ...] = (
    (40, 46, 62), (62, 60, 58), (150, 46, 44), (56, 88, 132), (92, 104, 78), (196, 186, 168),
    (120, 96, 78), (214, 176, 62), (88, 58, 92), (36, 36, 40), (226, 222, 214),
)
_LEGS: tuple[RGB, ...] = ((44, 52, 74), (36, 36, 40), (78, 72, 66), (96, 110, 130), (130, 116, 94))
# Riders wear bright colors.
_JERSEYS: tuple[RGB, ...] = (
    (214, 236, 60), (250, 128, 36), (236, 60, 60), (250, 214, 50), (60, 176, 236), (240, 90, 150),
)
# fmt: on


def draw_car(b: Brush) -> None:
    """Draw a car as a body in perspective: the end and the side that face the camera."""
    deck, roof_near, roof_far, hood, belt, top = pick(
        b.rng, (_SEDAN, _SEDAN, _HATCH, _HATCH, _WAGON, _VAN)
    )
    albedo = pick(b.rng, _PAINTS)
    car, oncoming = b.thing, b.thing.side < 0
    if oncoming:  # the bonnet is the near end
        deck, roof_near, roof_far, hood = hood, roof_far, roof_near, deck
    half, end = b.rng.uniform(0.83, 0.92), car.length
    roof_far, hood = end - roof_far, end - hood
    right, up, forward = b.light.direction
    glass, black = (40, 48, 58), (22, 22, 24)
    back, above = b.paint(albedo, max(0.0, -forward)), b.paint(albedo, max(0.0, up))

    def at(across: float, y: float, along: float) -> Point:
        return b.camera.project(car.x + across * half, y, car.z + along)

    def panel(points: list[RGB], color: Color, street: int | None = Street.CAR) -> None:
        b.polygon([at(*point) for point in points], color, street)

    # fmt: off
    panel([(-1, 0.32, 0.1), (1, 0.32, 0.1), (0.95, 0, 0.25), (-0.95, 0, 0.25)], b.paint(black, 0))
    s = -1.0 if car.x > 0 else 1.0
    if abs(car.x) > half * 0.8:
        shade = b.paint(albedo, max(0.0, s * right))
        panel([(s, 0.22, 0), (s, 0.8, 0), (s, belt, deck * 0.4), (s, belt, hood),
               (s, belt - 0.14, end), (s, 0.25, end)], shade)
        panel([(s, belt, deck), (s * 0.8, top, roof_near), (s * 0.8, top, roof_far),
               (s, belt, hood)], shade)
        panel([(s * 0.98, belt + 0.03, deck + 0.3), (s * 0.82, top - 0.1, roof_near + 0.2),
               (s * 0.82, top - 0.1, roof_far - 0.15), (s * 0.98, belt + 0.03, hood - 0.3)],
              b.paint(glass, 0.4), None)
        pillar = (roof_near + roof_far) / 2
        b.line([at(s, belt, pillar), at(s * 0.8, top, pillar)], 0.08 * b.scale, shade)
        for along in (0.75, end - 0.8):
            center, radius = at(s, 0.31, along), 0.31 * b.camera.scale(car.z + along)
            wide = abs(at(s, 0.3, along + 0.31)[0] - at(s, 0.3, along - 0.31)[0]) / 2
            b.ellipse(center, max(wide, 0.5), radius, b.paint(black, 0.1), Street.CAR)
            b.ellipse(center, wide * 0.5, radius * 0.5, b.paint((120, 122, 126), 0.3))

    def across(low: float, high: float, y1: float, y2: float, color: Color) -> None:
        """Draw a detail of the end that faces the camera."""
        panel([(low, y1, 0), (high, y1, 0), (high, y2, 0), (low, y2, 0)], color, None)

    panel([(x, top, z) for x, z in ((-0.8, roof_near), (0.8, roof_near), (0.8, roof_far),
                                    (-0.8, roof_far))], above)
    panel([(-0.97, belt, deck), (-0.8, top, roof_near), (0.8, top, roof_near), (0.97, belt, deck)],
          back)
    panel([(-0.86, belt + 0.04, deck), (-0.72, top - 0.08, roof_near),
           (0.72, top - 0.08, roof_near), (0.86, belt + 0.04, deck)],
          b.paint((70, 84, 98) if oncoming else glass), None)
    panel([(-1, belt - 0.1, 0), (1, belt - 0.1, 0), (0.97, belt, deck), (-0.97, belt, deck)], above)
    panel([(-0.96, 0.2, 0), (0.96, 0.2, 0), (1, 0.5, 0), (0.98, belt - 0.1, 0),
           (-0.98, belt - 0.1, 0), (-1, 0.5, 0)], back)
    # fmt: on
    across(-0.96, 0.96, 0.24, 0.4, b.paint(dim(albedo, 0.55), 0.1))
    lit = (250, 246, 222) if oncoming else (214, 34, 30)
    lamp = lit if b.light.lamps else b.paint((236, 236, 226) if oncoming else (168, 26, 28), 0.6)
    for x in (-1.0, 1.0):
        across(x * 0.94, x * 0.68, 0.02, 0.24, b.paint(black))
        across(x * 0.95, x * 0.68, 0.62, 0.77, lamp)
    if oncoming:
        across(-0.5, 0.5, 0.5, 0.66, b.paint(black, 0.1))
    across(-0.27, 0.27, 0.42, 0.54, b.paint((222, 222, 206), 0.4))


def draw_person(b: Brush) -> None:
    """Draw a pedestrian."""
    size, rng = b.scale * b.thing.height, b.rng

    def at(across: float, up: float) -> Point:
        return b.x + across * size, b.ground - up * size

    def limb(start: Point, end: Point, width: float, albedo: RGB, facing: float = 0.35) -> None:
        b.line([start, end], width * size, b.paint(albedo, facing), Street.PERSON)

    top, legs, skin = pick(rng, _TOPS), pick(rng, _LEGS), pick(rng, _SKIN)
    stride = rng.uniform(-0.11, 0.11)
    hip = 0.36 if rng.random() < 0.3 else 0.46
    for foot, dark in ((stride, 0.8), (-stride, 1.0)):
        limb(at(0.02 if foot > 0 else -0.02, 0.48), at(foot, 0.02), 0.085, dim(legs, dark))
    limb(at(-0.1, 0.79), at(-0.13 - stride * 0.8, 0.5), 0.055, dim(top, 0.8))
    torso = ((-0.09, hip), (-0.125, 0.78), (-0.07, 0.83), (0.07, 0.83), (0.125, 0.78), (0.09, hip))
    b.polygon([at(*point) for point in torso], b.paint(top, 0.6), Street.PERSON)
    limb(at(0.1, 0.79), at(0.13 + stride * 0.8, 0.5), 0.055, dim(top, 0.8))
    limb(at(0, 0.82), at(0, 0.88), 0.05, skin, 0.3)
    b.ellipse(at(0, 0.93), 0.052 * size, 0.068 * size, b.paint(skin, 0.6), Street.PERSON)
    hair = b.paint(pick(rng, _HAIR), 0.4)
    b.ellipse(at(0, 0.96), 0.054 * size, 0.042 * size, hair, Street.PERSON)


def draw_rider(b: Brush) -> None:
    """Draw a person on a bicycle, along the street or across it."""
    size, rng = b.scale, b.rng
    # From 0 (seen from behind) to 1 (seen from the side).
    turn = sin(rng.uniform(0.65, 1.5)) if rng.random() < 0.65 else rng.uniform(0.1, 0.22)
    way = 1 if rng.random() < 0.5 else -1

    def at(along: float, up: float, across: float = 0.0) -> Point:
        return b.x + (along * turn * way + across * cos(turn)) * size, b.ground - up * size

    def limb(points: list[Point], width: float, color: Color) -> None:
        b.line(points, width * size, color, Street.RIDER)

    jersey, legs, skin = pick(rng, _JERSEYS), pick(rng, _LEGS), pick(rng, _SKIN)
    frame, tyre = b.paint(pick(rng, _JERSEYS)), b.paint((26, 26, 28), 0.2)
    for along in (-0.52, 0.52):
        wide, hub = max(0.05, 0.34 * turn) * size, at(along, 0.34)
        b.ellipse(hub, wide, 0.34 * size, b.paint((96, 98, 100), 0.3), Street.RIDER)
        b.ring(*hub, wide, 0.34 * size, round(0.08 * size), tyre)
    fork = [at(0.45, 0.98), at(0.52, 0.34), at(0.0, 0.36), at(-0.15, 0.85), at(0.42, 0.82)]
    limb(fork, 0.06, frame)
    limb([at(0.0, 0.36), at(-0.52, 0.34), at(-0.12, 0.75)], 0.06, frame)
    limb([at(0.42, 1.02, -0.26), at(0.42, 1.02, 0.26)], 0.05, tyre)
    knee = rng.uniform(-0.08, 0.08)
    for across, foot in ((-0.11, 0.24 + knee), (0.11, 0.36 - knee)):
        leg = [at(-0.12, 0.95, across), at(0.18, 0.68 + knee, across), at(0.05, foot, across)]
        limb(leg, 0.14, b.paint(legs, 0.4))
    back = ((-0.24, 0.93, -0.16), (-0.04, 1.42, -0.23), (0.14, 1.48, 0.0), (0.12, 1.42, 0.23),
            (-0.02, 0.93, 0.16))  # fmt: skip
    b.polygon([at(*point) for point in back], b.paint(jersey, 0.6), Street.RIDER)
    for across in (-0.22, 0.22):
        limb([at(0.05, 1.38, across), at(0.42, 1.04, across)], 0.1, b.paint(jersey, 0.35))
    b.ellipse(at(0.14, 1.58), 0.11 * size, 0.14 * size, b.paint(skin, 0.6), Street.RIDER)
    helmet = pick(rng, (*_JERSEYS, (236, 236, 232)))
    b.ellipse(at(0.12, 1.67), 0.13 * size, 0.09 * size, b.paint(helmet, 0.7), Street.RIDER)


DRAW: dict[Thing, Callable[[Brush], None]] = {
    "lamp": draw_lamp, "sign": draw_sign, "light": draw_traffic_light, "fence": draw_fence,
    "bin": draw_bin, "tree": draw_tree, "car": draw_car, "person": draw_person,
    "rider": draw_rider,
}  # fmt: skip
