"""Pedestrians and riders."""

from __future__ import annotations

from math import cos, sin
from random import Random

import numpy as np

from lossmaxpool.data.streets.camera import Camera, Point
from lossmaxpool.data.streets.canvas import Canvas, Color
from lossmaxpool.data.streets.classes import Street
from lossmaxpool.data.streets.layout import Object
from lossmaxpool.data.streets.light import RGB, Light
from lossmaxpool.data.streets.noise import pick

_SKIN: tuple[RGB, ...] = ((236, 196, 164), (214, 168, 132), (168, 118, 84), (110, 74, 54))
_HAIR: tuple[RGB, ...] = ((38, 30, 26), (78, 54, 38), (150, 112, 66), (120, 118, 116))
_TOPS: tuple[RGB, ...] = (
    (40, 46, 62), (62, 60, 58), (150, 46, 44), (56, 88, 132), (92, 104, 78), (196, 186, 168),
    (120, 96, 78), (214, 176, 62), (88, 58, 92), (36, 36, 40), (226, 222, 214),
)  # fmt: skip
_LEGS: tuple[RGB, ...] = ((44, 52, 74), (36, 36, 40), (78, 72, 66), (96, 110, 130), (130, 116, 94))


def draw_person(
    canvas: Canvas, camera: Camera, person: Object, light: Light, shadow: float
) -> None:
    """Draws a pedestrian.

    Args:
        canvas: drawn on.
        camera: the view.
        person: place and height.
        light: of the scene.
        shadow: 0 in the sun, 1 in shadow.
    """
    rng = Random(person.seed)
    scale = camera.scale(person.z) * person.height
    x, ground = camera.project(person.x, 0, person.z)

    def paint(base: RGB, facing: float = 0.5) -> Color:
        return light.paint(base, person.z, facing, shadow)

    def at(across: float, up: float) -> Point:
        return x + across * scale, ground - up * scale

    top, legs, skin = pick(rng, _TOPS), pick(rng, _LEGS), pick(rng, _SKIN)
    stride = rng.uniform(-0.11, 0.11)
    swing = -stride * 0.8
    coat = rng.random() < 0.3
    hip = 0.36 if coat else 0.46
    for foot, dark in ((stride, 0.8), (-stride, 1.0)):
        color = paint((legs[0] * dark, legs[1] * dark, legs[2] * dark), 0.35)
        canvas.line(
            [at(0.02 * np.sign(foot), 0.48), at(foot, 0.02)], 0.085 * scale, color, Street.PERSON
        )
        canvas.line(
            [at(foot - 0.02, 0.015), at(foot + 0.05, 0.015)], 0.035 * scale, paint((30, 28, 28))
        )
    arm = paint((top[0] * 0.8, top[1] * 0.8, top[2] * 0.8), 0.35)
    canvas.line([at(-0.1, 0.79), at(-0.13 + swing, 0.5)], 0.055 * scale, arm, Street.PERSON)
    canvas.polygon(
        [at(-0.09, hip), at(-0.125, 0.78), at(-0.07, 0.83), at(0.07, 0.83), at(0.125, 0.78),
         at(0.09, hip)], paint(top, 0.6), Street.PERSON,
    )  # fmt: skip
    canvas.line([at(0.1, 0.79), at(0.13 - swing, 0.5)], 0.055 * scale, arm, Street.PERSON)
    if rng.random() < 0.3:
        canvas.polygon([at(-0.06, 0.55), at(-0.08, 0.78), at(0.08, 0.78), at(0.06, 0.55)],
                       paint(pick(rng, _TOPS), 0.4))  # fmt: skip
    canvas.line([at(0, 0.82), at(0, 0.88)], 0.05 * scale, paint(skin, 0.3), Street.PERSON)
    canvas.ellipse(at(0, 0.93), 0.052 * scale, 0.068 * scale, paint(skin, 0.6), Street.PERSON)
    hair = paint(pick(rng, _HAIR), 0.4)
    canvas.ellipse(at(0, 0.96), 0.054 * scale, 0.042 * scale, hair, Street.PERSON)


def draw_rider(canvas: Canvas, camera: Camera, rider: Object, light: Light, shadow: float) -> None:
    """Draws a person on a bicycle, along the street or across it.

    Args:
        canvas: drawn on.
        camera: the view.
        rider: place and height.
        light: of the scene.
        shadow: 0 in the sun, 1 in shadow.
    """
    rng = Random(rider.seed)
    scale = camera.scale(rider.z)
    x, ground = camera.project(rider.x, 0, rider.z)
    # From 0, seen from behind, to 1, seen from the side.
    turn = sin(rng.uniform(0.65, 1.5)) if rng.random() < 0.65 else rng.uniform(0.1, 0.22)
    way = 1 if rng.random() < 0.5 else -1

    def paint(base: RGB, facing: float = 0.5) -> Color:
        return light.paint(base, rider.z, facing, shadow)

    def at(along: float, up: float, across: float = 0.0) -> Point:
        lateral = along * turn * way + across * cos(turn)
        return x + lateral * scale, ground - up * scale

    top, legs, skin = pick(rng, _TOPS), pick(rng, _LEGS), pick(rng, _SKIN)
    frame = paint(pick(rng, _TOPS), 0.5)
    tyre = paint((26, 26, 28), 0.2)
    for along in (-0.52, 0.52):
        wide = max(0.05, 0.34 * turn) * scale
        canvas.ellipse(at(along, 0.34), wide, 0.34 * scale, paint((96, 98, 100), 0.3), Street.RIDER)
        canvas.ring(at(along, 0.34), wide, 0.34 * scale, round(0.07 * scale), tyre)
    bars = [at(0.45, 0.98), at(0.52, 0.34), at(0.0, 0.36), at(-0.15, 0.85), at(0.42, 0.82)]
    canvas.line(bars, 0.05 * scale, frame, Street.RIDER)
    canvas.line([at(-0.52, 0.34), at(0.0, 0.36)], 0.05 * scale, frame, Street.RIDER)
    canvas.line([at(-0.52, 0.34), at(-0.12, 0.75)], 0.05 * scale, frame, Street.RIDER)
    canvas.line([at(0.42, 1.02, -0.26), at(0.42, 1.02, 0.26)], 0.05 * scale, tyre, Street.RIDER)
    knee = rng.uniform(-0.08, 0.08)
    for across, foot in ((-0.11, 0.24 + knee), (0.11, 0.36 - knee)):
        color = paint(legs, 0.4)
        canvas.line(
            [at(-0.12, 0.95, across), at(0.18, 0.68 + knee, across), at(0.05, foot, across)],
            0.13 * scale, color, Street.RIDER,
        )  # fmt: skip
    torso = [at(-0.22, 0.93, -0.14), at(-0.02, 1.42, -0.2), at(0.12, 1.46, 0.0),
             at(0.1, 1.42, 0.2), at(-0.02, 0.93, 0.14)]  # fmt: skip
    canvas.polygon(torso, paint(top, 0.6), Street.RIDER)
    for across in (-0.22, 0.22):
        canvas.line(
            [at(0.05, 1.38, across), at(0.42, 1.04, across)], 0.09 * scale, paint(top, 0.35),
            Street.RIDER,
        )  # fmt: skip
    canvas.ellipse(at(0.14, 1.58), 0.1 * scale, 0.13 * scale, paint(skin, 0.6), Street.RIDER)
    helmet = pick(rng, (*_HAIR, (226, 226, 222), (180, 40, 40), (50, 90, 150)))
    canvas.ellipse(at(0.12, 1.66), 0.115 * scale, 0.08 * scale, paint(helmet, 0.7), Street.RIDER)
