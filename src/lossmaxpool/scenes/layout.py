"""The layout of a street as plain data, before it is drawn. Lengths are in meters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from random import Random
from typing import Literal, TypeVar

import numpy as np

T = TypeVar("T")
Kind = Literal["city", "suburb", "park"]
Thing = Literal["car", "person", "rider", "lamp", "sign", "light", "tree", "bin", "fence"]

FAR = 80.0  # where the street ends


# Class ids, with names and colors as Cityscapes has them.
# fmt: off
Street = IntEnum("Street", "ROAD SIDEWALK BUILDING FENCE POLE TRAFFIC_LIGHT TRAFFIC_SIGN "
                           "VEGETATION SKY PERSON RIDER CAR", start=0)
# fmt: on
VOID = 255
NAMES = tuple(street.name.lower().replace("_", " ") for street in Street)
COLORS = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
)  # fmt: skip


@dataclass(frozen=True)
class Building:
    """A house on one side of the street."""

    x: float  # position of the facade, to the right of the camera
    z1: float  # its near end
    z2: float  # its far end
    height: float  # height of the eaves
    seed: int  # of its appearance


@dataclass(frozen=True)
class Object:
    """An object on the ground; its nearest point is x to the right, z in front of the camera."""

    thing: Thing
    x: float
    z: float
    length: float  # along the street
    height: float
    side: int  # -1 left of the street, 1 right of it
    layer: int  # larger is nearer to the middle of the street
    seed: int  # of its appearance


@dataclass(frozen=True)
class Scene:
    """A street."""

    road: tuple[float, float]  # left and right edge
    sidewalk: tuple[float, float]  # widths, left and right
    kinds: tuple[Kind, Kind]  # kinds of ground to the left and to the right
    junction: tuple[float, float] | None  # start and end of a crossing street
    zebra: bool  # whether there is a zebra crossing before a junction
    seed: int  # of the ground's texture
    buildings: tuple[Building, ...] = ()  # far to near
    objects: tuple[Object, ...] = ()  # in the order in which they are drawn

    def crossed(self, z1: float, z2: float, margin: float = 0.0) -> bool:
        """Whether a stretch of the street meets the junction."""
        start, end = self.junction or (FAR, -FAR)
        return z1 < end + margin and z2 > start - margin


# Seen from the road, an object nearer to its middle is never hidden by one further out, at any
# distance. Within a layer, nearer objects hide those further away.
_GARDEN, _BORDER, _WALK, _ROAD = range(4)
_KINDS: tuple[Kind, ...] = ("city", "city", "suburb", "park")


def pick(rng: Random | np.random.Generator, options: Sequence[T]) -> T:
    """One of several options, all equally likely."""
    return options[int(rng.random() * len(options))]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _near(rng: np.random.Generator, first: float, last: float) -> float:
    """A distance; near ones are more likely."""
    return float(first + (last - first) * rng.random() ** 1.3)


def _along(rng: np.random.Generator, first: float, last: float, step: float) -> Iterator[float]:
    """Distances at irregular steps."""
    while first < last:
        yield first
        first += step * rng.uniform(0.7, 1.3)


def draw_scene(rng: np.random.Generator) -> Scene:
    """A random street."""
    right = rng.uniform(2.0, 4.6)
    left = right - rng.uniform(7.5, 12.0)
    sidewalk = (rng.uniform(1.8, 4.0), rng.uniform(1.8, 4.0))
    kinds = (pick(rng, _KINDS), pick(rng, _KINDS))
    start, wide = rng.uniform(12, 30), rng.uniform(6, 9)
    junction = (start, start + wide) if rng.random() < 0.5 else None
    scene = Scene((left, right), sidewalk, kinds, junction, rng.random() < 0.6, _seed(rng))
    buildings = [b for side in (0, 1) for b in _houses(rng, scene, side)]
    objects = [o for side in (0, 1) for o in _side(rng, scene, side)] + list(_traffic(rng, scene))
    # Woods or houses at the end of the street.
    woods = range(-60, 61, 3) if rng.random() < 0.5 else ()
    objects += [Object("tree", x, FAR, 0, 9 + 4 * rng.random(), 1, -1, _seed(rng)) for x in woods]
    buildings.sort(key=lambda b: -b.z1)
    objects.sort(key=lambda o: (o.layer, -o.z))
    return replace(scene, buildings=tuple(buildings), objects=tuple(objects))


def _houses(rng: np.random.Generator, scene: Scene, side: int) -> Iterator[Building]:
    kind, sign = scene.kinds[side], (-1, 1)[side]
    outer = scene.road[side] + sign * scene.sidewalk[side]
    if kind == "park":
        return
    z, storey, floors = rng.uniform(-6, 2), rng.uniform(2.8, 3.4), rng.integers(3, 6)
    while z < FAR:
        width = rng.uniform(8, 17) if kind == "city" else rng.uniform(7, 11)
        if scene.junction is not None and scene.crossed(z, z + width, 1.0):
            width = scene.junction[0] - 1 - z
            if width < 5:
                z = scene.junction[1] + 1
                continue
        if kind == "city":
            height = storey * (floors + int(rng.integers(-1, 2))) + 1.0
            setback = 0.0 if rng.random() < 0.8 else rng.uniform(0.3, 1.5)
            gap = 0.0 if rng.random() < 0.8 else rng.uniform(1.5, 5)
        else:
            height = storey * pick(rng, (1, 2, 2)) + rng.uniform(0.3, 1.0)
            setback, gap = rng.uniform(2.5, 6), rng.uniform(2, 9)
        yield Building(outer + sign * setback, z, z + width, height, _seed(rng))
        z += width + gap


def _side(rng: np.random.Generator, scene: Scene, side: int) -> Iterator[Object]:
    """The objects on one sidewalk and behind it."""
    kind, sign = scene.kinds[side], (-1, 1)[side]
    edge, walk = scene.road[side], scene.sidewalk[side]
    kerb, outer = edge + sign * 0.45, edge + sign * walk

    def put(thing: Thing, x: float, z: float, height: float, length: float = 0.0,
            layer: int = _WALK) -> Object:  # fmt: skip
        return Object(thing, x, z, length, height, sign, layer, _seed(rng))

    if rng.random() < 0.75:
        for z in _along(rng, rng.uniform(5, 22), FAR, rng.uniform(16, 28)):
            yield put("lamp", kerb, z, 5.5 + 3 * (scene.seed % 9) / 8)
    often, spacing = {"city": (0.35, 13), "suburb": (0.8, 11), "park": (1, 4)}[kind]
    if rng.random() < often:
        for z in _along(rng, rng.uniform(5, 14), 75, spacing):
            behind = walk + rng.uniform(0.8, 16.0 if kind == "park" else 3.0)
            away, layer = (0.9, _WALK) if kind == "city" else (behind, _GARDEN)
            if not scene.crossed(z, z, 2.0):
                yield put("tree", edge + sign * away, z, rng.uniform(4.5, 9.5), layer=layer)
    if kind != "city":
        z = rng.uniform(1.5, 8)
        while z < 70:
            length = rng.uniform(5, 14)
            border, x, tall = rng.random(), outer + sign * 0.15, rng.uniform(0.9, 1.6)
            if border < 0.5 and not scene.crossed(z, z + length, 1.0):
                yield put("fence", x, z, tall, length, _BORDER)
            for bush in np.arange(z, z + length, 0.6) if border > 0.6 else ():
                if not scene.crossed(bush, bush, 1.0):
                    yield put("tree", x + sign * 0.5, float(bush), 1.4 * tall, layer=_BORDER)
            z += length + rng.uniform(0, 3)
    for _ in range(rng.poisson(1.2)):
        yield put("sign", kerb, _near(rng, 5, 22), rng.uniform(2.1, 3.1))
    if scene.junction is not None and rng.random() < 0.9:
        place = scene.junction[0] - 0.8 if side else scene.junction[1] + 0.8
        yield put("light", kerb, place, rng.uniform(3.0, 4.2))
    elif rng.random() < 0.35:
        yield put("light", kerb, _near(rng, 6, 16), rng.uniform(2.8, 3.8))
    for _ in range(rng.poisson(0.5)):
        yield put("bin", edge + sign * rng.uniform(0.5, 1.0), rng.uniform(6, 40), 1.0)
    for _ in range(rng.poisson(1.1)):
        x, z = edge + sign * rng.uniform(0.4, max(0.5, walk - 0.3)), _near(rng, 5, 14)
        yield put("person", x, z, rng.uniform(1.5, 1.9))
    if rng.random() < 0.7:
        z, density = rng.uniform(4.5, 16), rng.uniform(0.35, 0.95)
        while z < 62:
            length = rng.uniform(3.7, 4.7)
            if rng.random() < density and not scene.crossed(z, z + length, 5.0):
                yield put("car", edge - sign * 1.05, z, 1.5, length, _ROAD)
            z += length + rng.uniform(0.8, 1.8)


def _traffic(rng: np.random.Generator, scene: Scene) -> Iterator[Object]:
    """The moving objects on the road."""
    left, right = scene.road

    def put(thing: Thing, x: float, z: float, length: float, height: float, side: int) -> Object:
        return Object(thing, x, z, length, height, side, _ROAD, _seed(rng))

    for lane, chance in ((0.0, 0.6), (-3.5, 0.75)):
        for z in _along(rng, rng.uniform(7, 34), 70, 18):
            if lane > left + 2.2 and rng.random() < chance:
                x, length = lane + rng.uniform(-0.3, 0.3), rng.uniform(3.8, 4.7)
                yield put("car", x, z, length, 1.5, -1 if lane < 0 else 1)
    for _ in range(rng.poisson(0.5)):
        side = pick(rng, (-1, 1))
        edge = right if side > 0 else left
        x = edge - side * rng.uniform(0.6, 1.2) if rng.random() < 0.6 else rng.uniform(-2, 1.2)
        yield put("rider", x, _near(rng, 5, 14), 1.7, rng.uniform(1.6, 1.8), side)
    if scene.zebra and scene.junction is not None:
        for _ in range(rng.poisson(0.8)):
            z, x = scene.junction[0] - rng.uniform(1.8, 4.2), rng.uniform(left, right)
            yield put("person", x, z, 0.0, rng.uniform(1.5, 1.9), 1)
