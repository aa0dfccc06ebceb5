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
Thing = Literal[
    "car", "person", "rider", "lamp", "sign", "light", "tree", "bin", "fence", "hedge", "bollard"
]

FAR = 80.0
"""Distance at which the street ends."""


# fmt: off
Street = IntEnum("Street", "ROAD SIDEWALK BUILDING FENCE POLE TRAFFIC_LIGHT TRAFFIC_SIGN "
                           "VEGETATION SKY PERSON RIDER CAR", start=0)
"""Class ids of the street scenes, with names and colors as Cityscapes has them."""
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
    z1: float  # near end of the facade
    z2: float  # far end of the facade
    height: float  # height of the eaves
    abuts: bool  # whether a nearer house hides the wall that faces the camera
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
    lanes: tuple[float, ...]  # lateral positions of lane markings
    sidewalk: tuple[float, float]  # widths, left and right
    kinds: tuple[Kind, Kind]  # kinds of ground to the left and to the right
    junction: tuple[float, float] | None  # start and end of a crossing street
    zebra: bool  # whether there is a zebra crossing before the junction
    end: str  # end of the street: houses or trees
    seed: int  # of the ground's texture
    buildings: tuple[Building, ...] = ()  # far to near
    objects: tuple[Object, ...] = ()  # in the order in which they are drawn

    def crossed(self, z1: float, z2: float, margin: float = 0.0) -> bool:
        """Whether a stretch of the street meets the junction."""
        if self.junction is None:
            return False
        return z1 < self.junction[1] + margin and z2 > self.junction[0] - margin


# Seen from the road, an object nearer to its middle is never hidden by one further out, at any
# distance. Within a layer, nearer objects hide those further away.
_GARDEN, _BORDER, _WALK, _KERB, _ROAD = range(5)
_BORDERS: tuple[Thing | None, ...] = ("fence", "fence", "fence", "hedge", "hedge", None)


def pick(rng: Random | np.random.Generator, options: Sequence[T]) -> T:
    """One of several options, all equally likely."""
    return options[int(rng.random() * len(options))]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def draw_scene(rng: np.random.Generator) -> Scene:
    """A random street."""
    right = rng.uniform(2.0, 4.6)
    left = right - rng.uniform(7.5, 12.0)
    sidewalk = (rng.uniform(1.8, 4.0), rng.uniform(1.8, 4.0))
    kind_left: Kind = pick(rng, ("city", "city", "suburb", "park"))
    kind_right: Kind = pick(rng, ("city", "city", "suburb", "suburb", "park"))
    junction = None
    if rng.random() < 0.5:
        start = rng.uniform(16, 40)
        junction = (start, start + rng.uniform(6, 9))
    lanes, kinds = (-1.8, -5.2)[: 1 + (left < -7)], (kind_left, kind_right)
    zebra = junction is not None and rng.random() < 0.6
    end, seed = pick(rng, ("houses", "trees")), _seed(rng)
    scene = Scene((left, right), lanes, sidewalk, kinds, junction, zebra, end, seed)
    buildings = [b for side in (0, 1) for b in _houses(rng, scene, side)]
    objects = [o for side in (0, 1) for o in _side(rng, scene, side)] + list(_traffic(rng, scene))
    buildings.sort(key=lambda b: -b.z1)
    objects.sort(key=lambda o: (o.layer, -o.z))
    return replace(scene, buildings=tuple(buildings), objects=tuple(objects))


def _houses(rng: np.random.Generator, scene: Scene, side: int) -> Iterator[Building]:
    kind, sign = scene.kinds[side], (-1, 1)[side]
    outer = scene.road[side] + sign * scene.sidewalk[side]
    if kind == "park":
        return
    z, storey, floors = rng.uniform(-6, 2), rng.uniform(2.8, 3.4), rng.integers(3, 6)
    last, eaves = None, 0.0
    while z < FAR:
        width = rng.uniform(8, 17) if kind == "city" else rng.uniform(7, 11)
        if scene.junction is not None and scene.crossed(z, z + width, 1.0):
            if scene.junction[0] - 1 - z > 5:
                width = scene.junction[0] - 1 - z
            else:
                z = scene.junction[1] + 1
                continue
        if kind == "city":
            height = storey * (floors + int(rng.integers(-1, 2))) + 1.0
            setback = 0.0 if rng.random() < 0.8 else rng.uniform(0.3, 1.5)
            gap = 0.0 if rng.random() < 0.8 else rng.uniform(1.5, 5)
        else:
            height = storey * pick(rng, (1, 2, 2)) + rng.uniform(0.3, 1.0)
            setback, gap = rng.uniform(2.5, 6), rng.uniform(2, 9)
        x = outer + sign * setback
        abuts = last is not None and last == (x, z) and height <= eaves
        yield Building(x, z, z + width, height, abuts, _seed(rng))
        last, eaves = (x, z + width), height
        z += width + gap


def _side(rng: np.random.Generator, scene: Scene, side: int) -> Iterator[Object]:
    """The objects on one sidewalk and behind it."""
    kind, sign = scene.kinds[side], (-1, 1)[side]
    edge, walk = scene.road[side], scene.sidewalk[side]
    kerb, outer = edge + sign * 0.45, edge + sign * walk

    def put(
        thing: Thing, x: float, z: float, height: float, length: float = 0.0, layer: int = _WALK
    ) -> Object:
        return Object(thing, x, z, length, height, sign, layer, _seed(rng))

    if rng.random() < 0.75:
        spacing, z, height = rng.uniform(16, 28), rng.uniform(5, 22), rng.uniform(5.5, 8.5)
        while z < 80:
            yield put("lamp", kerb, z, height)
            z += spacing
    if rng.random() < {"city": 0.35, "suburb": 0.8, "park": 1.0}[kind]:
        spacing = {"city": 13.0, "suburb": 11.0, "park": 7.0}[kind] * rng.uniform(0.8, 1.3)
        z = rng.uniform(5, 14)
        while z < 70:
            away = 0.9 if kind == "city" else walk + rng.uniform(0.8, 3.0)
            if not scene.crossed(z, z, 2.0):
                layer = _WALK if kind == "city" else _GARDEN
                yield put("tree", edge + sign * away, z, rng.uniform(4.5, 9.0), layer=layer)
            z += spacing * rng.uniform(0.7, 1.3)
    if kind == "park":
        z = 6.0
        while z < 75:
            far = edge + sign * (walk + rng.uniform(5, 16))
            if not scene.crossed(z, z, 2.0):
                yield put("tree", far, z, rng.uniform(6, 12), layer=_GARDEN)
            z += rng.uniform(4, 8) * (1 + z / 40)
    if kind != "city":
        z = rng.uniform(1.5, 8)
        while z < 70:
            length = rng.uniform(5, 14)
            border: Thing | None = pick(rng, _BORDERS)
            if border is not None and not scene.crossed(z, z + length, 1.0):
                tall = rng.uniform(0.8, 1.5) if border == "hedge" else rng.uniform(0.9, 1.6)
                yield put(border, outer + sign * 0.15, z, tall, length, _BORDER)
            z += length + rng.uniform(0, 3)
    elif rng.random() < 0.22:
        z = rng.uniform(5, 16)
        yield put("fence", edge + sign * 0.3, z, rng.uniform(0.85, 1.1), rng.uniform(5, 14), _KERB)
    for _ in range(rng.poisson(1.5)):
        yield put("sign", kerb, 5 + 38 * rng.random() ** 1.3, rng.uniform(2.1, 3.1))
    if scene.junction is not None and rng.random() < 0.9:
        place = scene.junction[0] - 0.8 if side else scene.junction[1] + 0.8
        yield put("light", kerb, place, rng.uniform(3.0, 4.2))
    elif rng.random() < 0.25:
        yield put("light", kerb, rng.uniform(9, 34), rng.uniform(2.8, 3.8))
    for _ in range(rng.poisson(0.5)):
        yield put("bin", edge + sign * rng.uniform(0.5, 1.0), rng.uniform(6, 40), 1.0)
    if rng.random() < 0.12:
        z = rng.uniform(5, 20)
        for i in range(int(rng.integers(3, 7))):
            yield put("bollard", kerb, z + 1.8 * i, 0.95)
    for _ in range(rng.poisson(2.4)):
        for companion in range(1 + (rng.random() < 0.25)):
            x = edge + sign * rng.uniform(0.4, max(0.5, walk - 0.3))
            z = 5.5 + 36 * rng.random() ** 1.4 + 0.2 * companion
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
        z = rng.uniform(7, 34)
        while z < 70 and lane > left + 2.2:
            if rng.random() < chance:
                x, length = lane + rng.uniform(-0.3, 0.3), rng.uniform(3.8, 4.7)
                yield put("car", x, z, length, 1.5, -1 if lane < 0 else 1)
            z += rng.uniform(9, 28)
    for _ in range(rng.poisson(0.75)):
        side = pick(rng, (-1, 1))
        edge = right if side > 0 else left
        x = edge - side * rng.uniform(0.6, 1.2) if rng.random() < 0.6 else rng.uniform(-2, 1.2)
        z, height = 5.0 + 18 * rng.random() ** 1.3, rng.uniform(1.6, 1.8)
        yield put("rider", x, z, 1.7, height, side)
    if scene.zebra and scene.junction is not None:
        for _ in range(rng.poisson(1.2)):
            z, x = scene.junction[0] - rng.uniform(1.8, 4.2), rng.uniform(left, right)
            yield put("person", x, z, 0.0, rng.uniform(1.5, 1.9), 1)
