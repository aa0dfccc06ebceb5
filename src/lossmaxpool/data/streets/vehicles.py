"""Cars, as bodies in perspective: the end that faces the camera and the side that does."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lossmaxpool.data.streets.camera import Camera, Point
from lossmaxpool.data.streets.canvas import Canvas, Color
from lossmaxpool.data.streets.classes import Street
from lossmaxpool.data.streets.layout import Object
from lossmaxpool.data.streets.light import RGB, Light
from lossmaxpool.data.streets.noise import pick

_PAINTS: tuple[RGB, ...] = (
    (232, 232, 230), (190, 192, 196), (60, 62, 66), (36, 38, 42), (150, 30, 34), (34, 60, 112),
    (120, 124, 130), (92, 108, 124), (196, 178, 140), (52, 84, 70), (206, 210, 214), (176, 96, 40),
)  # fmt: skip


@dataclass(frozen=True)
class _Shape:
    """Profile, in metres from the near end and above the ground."""

    deck: float  # where the near window begins
    roof_near: float
    roof_far: float  # before the far end
    hood: float  # where the far window ends, before the far end
    belt: float
    top: float


_SEDAN = _Shape(0.55, 1.15, 1.95, 1.15, 0.92, 1.42)
_HATCH = _Shape(0.12, 0.55, 1.75, 1.0, 0.95, 1.50)
_WAGON = _Shape(0.10, 0.40, 1.75, 1.05, 0.98, 1.62)
_VAN = _Shape(0.04, 0.12, 1.10, 0.55, 1.15, 2.05)


def draw_car(canvas: Canvas, camera: Camera, car: Object, light: Light, shadow: float) -> None:
    """Draws one car.

    Args:
        canvas: drawn on.
        camera: the view.
        car: its place.
        light: of the scene.
        shadow: 0 in the sun, 1 in shadow.
    """
    rng = Random(car.seed)
    shape = pick(rng, (_SEDAN, _SEDAN, _HATCH, _HATCH, _WAGON, _VAN))
    albedo = pick(rng, _PAINTS)
    oncoming = car.side < 0
    if oncoming:  # the bonnet is the near end
        shape = _Shape(
            shape.hood, shape.roof_far, shape.roof_near, shape.deck, shape.belt, shape.top
        )
    half, length, z = rng.uniform(0.83, 0.92), car.length, car.z
    right, up, forward = light.direction

    def paint(base: RGB, facing: float) -> Color:
        return light.paint(base, z, max(0.0, facing), shadow)

    def at(across: float, y: float, along: float) -> Point:
        return camera.project(car.x + across * half, y, z + along)

    glass: RGB = (40, 48, 58)
    roof_far, hood = length - shape.roof_far, length - shape.hood
    top, belt, deck = shape.top, shape.belt, shape.deck
    body_end, body_side, body_top = paint(albedo, -forward), albedo, paint(albedo, up)

    # Dark underneath, where no light gets in.
    canvas.polygon(
        [at(-1, 0.32, 0.1), at(1, 0.32, 0.1), at(0.95, 0.0, 0.25), at(-0.95, 0.0, 0.25)],
        paint((18, 18, 20), 0),
        Street.CAR,
    )
    side = -1.0 if car.x > 0 else 1.0
    if abs(car.x) > half * 0.8:
        shade = paint(body_side, side * right)
        canvas.polygon(
            [at(side, 0.22, 0), at(side, 0.8, 0), at(side, belt, deck * 0.4), at(side, belt, hood),
             at(side, belt - 0.14, length), at(side, 0.25, length)],
            shade, Street.CAR,
        )  # fmt: skip
        canvas.polygon(
            [at(side, belt, deck), at(side * 0.8, top, shape.roof_near),
             at(side * 0.8, top, roof_far), at(side, belt, hood)],
            shade, Street.CAR,
        )  # fmt: skip
        inset = 0.1
        canvas.polygon(
            [at(side * 0.98, belt + 0.03, deck + 0.3),
             at(side * 0.82, top - inset, shape.roof_near + 0.2),
             at(side * 0.82, top - inset, roof_far - 0.15),
             at(side * 0.98, belt + 0.03, hood - 0.3)],
            paint(glass, 0.4),
        )  # fmt: skip
        pillar = (shape.roof_near + roof_far) / 2
        canvas.line(
            [at(side, belt, pillar), at(side * 0.8, top, pillar)], 0.08 * camera.scale(z), shade
        )
        for along in (0.75, length - 0.8):
            center = at(side, 0.31, along)
            wide = abs(at(side, 0.3, along + 0.31)[0] - at(side, 0.3, along - 0.31)[0]) / 2
            radius = 0.31 * camera.scale(z + along)
            canvas.ellipse(center, max(wide, 0.5), radius, paint((22, 22, 24), 0.1), Street.CAR)
            canvas.ellipse(center, wide * 0.5, radius * 0.5, paint((120, 122, 126), 0.3))

    canvas.polygon(
        [at(-0.8, top, shape.roof_near), at(0.8, top, shape.roof_near),
         at(0.8, top, roof_far), at(-0.8, top, roof_far)], body_top, Street.CAR,
    )  # fmt: skip
    window = [at(-0.97, belt, deck), at(-0.8, top, shape.roof_near),
              at(0.8, top, shape.roof_near), at(0.97, belt, deck)]  # fmt: skip
    canvas.polygon(window, body_end, Street.CAR)
    canvas.polygon(
        [at(-0.86, belt + 0.04, deck), at(-0.72, top - 0.08, shape.roof_near),
         at(0.72, top - 0.08, shape.roof_near), at(0.86, belt + 0.04, deck)],
        paint((70, 84, 98) if oncoming else glass, 0.5),
    )  # fmt: skip
    canvas.polygon(
        [at(-1, belt - 0.1, 0), at(1, belt - 0.1, 0), at(0.97, belt, deck), at(-0.97, belt, deck)],
        body_top, Street.CAR,
    )  # fmt: skip
    canvas.polygon(
        [at(-0.96, 0.24, 0), at(0.96, 0.24, 0), at(1, 0.5, 0), at(0.98, belt - 0.1, 0),
         at(-0.98, belt - 0.1, 0), at(-1, 0.5, 0)], body_end, Street.CAR,
    )  # fmt: skip
    canvas.polygon(
        [at(-0.96, 0.24, 0), at(0.96, 0.24, 0), at(0.98, 0.4, 0), at(-0.98, 0.4, 0)],
        paint((albedo[0] * 0.55, albedo[1] * 0.55, albedo[2] * 0.55), 0.1),
    )
    for across in (-1.0, 1.0):
        canvas.polygon(
            [at(across * 0.94, 0.24, 0), at(across * 0.68, 0.24, 0),
             at(across * 0.68, 0.02, 0), at(across * 0.94, 0.02, 0)],
            paint((20, 20, 22), 0), Street.CAR,
        )  # fmt: skip
        lamp: Color = (250, 246, 222) if oncoming else (214, 34, 30)
        color = lamp if light.lamps else paint((236, 236, 226) if oncoming else (168, 26, 28), 0.6)
        canvas.polygon(
            [at(across * 0.95, 0.62, 0), at(across * 0.66, 0.62, 0),
             at(across * 0.7, 0.76, 0), at(across * 0.95, 0.78, 0)], color,
        )  # fmt: skip
    if oncoming:
        canvas.polygon(
            [at(-0.5, 0.5, 0), at(0.5, 0.5, 0), at(0.55, 0.66, 0), at(-0.55, 0.66, 0)],
            paint((30, 32, 34), 0.1),
        )
    canvas.polygon(
        [at(-0.27, 0.42, 0), at(0.27, 0.42, 0), at(0.27, 0.54, 0), at(-0.27, 0.54, 0)],
        paint((222, 222, 206), 0.4),
    )
