"""Cars, pedestrians and riders."""

from __future__ import annotations

from math import cos, sin

from lossmaxpool.scenes.layout import Street, pick
from lossmaxpool.scenes.view import RGB, Brush, Point, dim

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
    glass: RGB = (40, 48, 58)
    back, above = b.paint(albedo, max(0.0, -forward)), b.paint(albedo, max(0.0, up))

    def at(across: float, y: float, along: float) -> Point:
        return b.camera.project(car.x + across * half, y, car.z + along)

    def panel(points: list[tuple[float, float, float]], color: tuple[int, int, int],
              street: int | None = Street.CAR) -> None:  # fmt: skip
        b.polygon([at(*point) for point in points], color, street)

    # fmt: off
    # Dark underside.
    panel([(-1, 0.32, 0.1), (1, 0.32, 0.1), (0.95, 0.0, 0.25), (-0.95, 0.0, 0.25)],
          b.paint((18, 18, 20), 0))
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
            b.ellipse(center, max(wide, 0.5), radius, b.paint((22, 22, 24), 0.1), Street.CAR)
            b.ellipse(center, wide * 0.5, radius * 0.5, b.paint((120, 122, 126), 0.3))

    panel([(-0.8, top, roof_near), (0.8, top, roof_near), (0.8, top, roof_far),
           (-0.8, top, roof_far)], above)
    panel([(-0.97, belt, deck), (-0.8, top, roof_near), (0.8, top, roof_near), (0.97, belt, deck)],
          back)
    panel([(-0.86, belt + 0.04, deck), (-0.72, top - 0.08, roof_near),
           (0.72, top - 0.08, roof_near), (0.86, belt + 0.04, deck)],
          b.paint((70, 84, 98) if oncoming else glass), None)
    panel([(-1, belt - 0.1, 0), (1, belt - 0.1, 0), (0.97, belt, deck), (-0.97, belt, deck)], above)
    panel([(-0.96, 0.24, 0), (0.96, 0.24, 0), (1, 0.5, 0), (0.98, belt - 0.1, 0),
           (-0.98, belt - 0.1, 0), (-1, 0.5, 0)], back)
    panel([(-0.96, 0.24, 0), (0.96, 0.24, 0), (0.98, 0.4, 0), (-0.98, 0.4, 0)],
          b.paint(dim(albedo, 0.55), 0.1), None)
    lit = (250, 246, 222) if oncoming else (214, 34, 30)
    lamp = lit if b.light.lamps else b.paint((236, 236, 226) if oncoming else (168, 26, 28), 0.6)
    for x in (-1.0, 1.0):
        panel([(x * 0.94, 0.24, 0), (x * 0.68, 0.24, 0), (x * 0.68, 0.02, 0), (x * 0.94, 0.02, 0)],
              b.paint((20, 20, 22), 0))
        panel([(x * 0.95, 0.62, 0), (x * 0.66, 0.62, 0), (x * 0.7, 0.76, 0), (x * 0.95, 0.78, 0)],
              lamp, None)
    if oncoming:
        panel([(-0.5, 0.5, 0), (0.5, 0.5, 0), (0.55, 0.66, 0), (-0.55, 0.66, 0)],
              b.paint((30, 32, 34), 0.1), None)
    panel([(-0.27, 0.42, 0), (0.27, 0.42, 0), (0.27, 0.54, 0), (-0.27, 0.54, 0)],
          b.paint((222, 222, 206), 0.4), None)
    # fmt: on


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
        shoe = b.paint((30, 28, 28))
        b.line([at(foot - 0.02, 0.015), at(foot + 0.05, 0.015)], 0.035 * size, shoe)
    limb(at(-0.1, 0.79), at(-0.13 - stride * 0.8, 0.5), 0.055, dim(top, 0.8))
    torso = ((-0.09, hip), (-0.125, 0.78), (-0.07, 0.83), (0.07, 0.83), (0.125, 0.78), (0.09, hip))
    b.polygon([at(*point) for point in torso], b.paint(top, 0.6), Street.PERSON)
    limb(at(0.1, 0.79), at(0.13 + stride * 0.8, 0.5), 0.055, dim(top, 0.8))
    if rng.random() < 0.3:  # a bag
        bag = (at(-0.06, 0.55), at(-0.08, 0.78), at(0.08, 0.78), at(0.06, 0.55))
        b.polygon(bag, b.paint(pick(rng, _TOPS), 0.4))
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

    def limb(points: list[Point], width: float, color: tuple[int, int, int]) -> None:
        b.line(points, width * size, color, Street.RIDER)

    jersey, legs, skin = pick(rng, _JERSEYS), pick(rng, _LEGS), pick(rng, _SKIN)
    frame, tyre = b.paint(pick(rng, _JERSEYS)), b.paint((26, 26, 28), 0.2)
    for along in (-0.52, 0.52):
        wide, hub = max(0.05, 0.34 * turn) * size, at(along, 0.34)
        b.ellipse(hub, wide, 0.34 * size, b.paint((96, 98, 100), 0.3), Street.RIDER)
        b.ring(hub, wide, 0.34 * size, round(0.08 * size), tyre)
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
