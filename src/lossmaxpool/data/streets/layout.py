"""What stands where: a street as plain data, before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lossmaxpool.data.streets.noise import pick

Kind = Literal["city", "suburb", "park"]
Thing = Literal[
    "car", "person", "rider", "lamp", "sign", "light", "tree", "bin", "fence", "hedge", "bollard"
]
FAR = 80.0
"""Where the street ends, in metres."""

# Seen from the road, what stands nearer to its middle is never hidden by what stands further out,
# whatever their distances. Within a layer, the nearer one hides the further one.
_GARDEN, _BORDER, _WALK, _KERB, _ROAD = range(5)


_BORDERS: tuple[Thing | None, ...] = ("fence", "fence", "fence", "hedge", "hedge", None)


@dataclass(frozen=True)
class Building:
    """A house on one side of the street.

    Attributes:
        x: where its front stands, in metres to the right of the camera.
        z1: near end of the front.
        z2: far end of the front.
        height: up to the eaves.
        abuts: whether a nearer house hides the wall that faces the camera.
        seed: of its look.
    """

    x: float
    z1: float
    z2: float
    height: float
    abuts: bool
    seed: int


@dataclass(frozen=True)
class Object:
    """Something that stands on the ground, its nearest point at (x, z).

    Attributes:
        thing: what it is.
        x: metres to the right of the camera.
        z: metres in front of it.
        length: along the street.
        height: above the ground.
        side: -1 left of the street, 1 right of it.
        layer: how near to the middle of the street.
        seed: of its look.
    """

    thing: Thing
    x: float
    z: float
    length: float
    height: float
    side: int
    layer: int
    seed: int


@dataclass(frozen=True)
class Scene:
    """A street.

    Attributes:
        road: left and right edge of the road.
        lanes: lateral places of lane marks.
        sidewalk: widths of the left and the right sidewalk.
        kinds: what lies to the left and to the right.
        junction: start and end of a crossing street, or None.
        zebra: whether a zebra crossing lies before the junction.
        buildings: far to near.
        objects: in the order in which they are drawn.
        end: what closes the view.
        seed: of the ground's texture.
    """

    road: tuple[float, float]
    lanes: tuple[float, ...]
    sidewalk: tuple[float, float]
    kinds: tuple[Kind, Kind]
    junction: tuple[float, float] | None
    zebra: bool
    buildings: tuple[Building, ...]
    objects: tuple[Object, ...]
    end: Literal["houses", "trees"]
    seed: int


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draws a street."""
    right = rng.uniform(2.0, 4.6)
    left = right - rng.uniform(7.5, 12.0)
    sidewalk = (rng.uniform(1.8, 4.0), rng.uniform(1.8, 4.0))
    kinds: tuple[Kind, Kind] = (
        pick(rng, ("city", "city", "suburb", "park")),
        pick(rng, ("city", "city", "suburb", "suburb", "park")),
    )
    junction = None
    if rng.random() < 0.5:
        start = rng.uniform(16, 40)
        junction = (start, start + rng.uniform(6, 9))
    scene = Scene(
        road=(left, right),
        lanes=(-1.8, -5.2)[: 1 + (left < -7)],
        sidewalk=sidewalk,
        kinds=kinds,
        junction=junction,
        zebra=junction is not None and rng.random() < 0.6,
        buildings=(),
        objects=(),
        end=pick(rng, ("houses", "trees")),
        seed=_seed(rng),
    )
    buildings = [b for side in (0, 1) for b in _houses(rng, scene, side)]
    objects = [o for side in (0, 1) for o in _side(rng, scene, side)] + list(_traffic(rng, scene))
    return replace(
        scene,
        buildings=tuple(sorted(buildings, key=lambda b: -b.z1)),
        objects=tuple(sorted(objects, key=lambda o: (o.layer, -o.z))),
    )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _edges(scene: Scene, side: int) -> tuple[int, float, float]:
    """Sign of a side, its road edge and the outer edge of its sidewalk."""
    sign = (-1, 1)[side]
    edge = scene.road[side]
    return sign, edge, edge + sign * scene.sidewalk[side]


def _crossed(scene: Scene, z1: float, z2: float, margin: float = 0.0) -> bool:
    """Whether a stretch of the street meets the junction."""
    if scene.junction is None:
        return False
    return z1 < scene.junction[1] + margin and z2 > scene.junction[0] - margin


def _houses(rng: np.random.Generator, scene: Scene, side: int) -> Iterator[Building]:
    kind = scene.kinds[side]
    sign, _, outer = _edges(scene, side)
    if kind == "park":
        return
    z = rng.uniform(-6, 2)
    storey = rng.uniform(2.8, 3.4)
    floors = rng.integers(3, 6)
    last, eaves = None, 0.0
    while z < FAR:
        width = rng.uniform(8, 17) if kind == "city" else rng.uniform(7, 11)
        if _crossed(scene, z, z + width, 1.0) and scene.junction is not None:
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
            setback = rng.uniform(2.5, 6)
            gap = rng.uniform(2, 9)
        x = outer + sign * setback
        abuts = last is not None and last == (x, z) and height <= eaves
        yield Building(x, z, z + width, height, abuts, _seed(rng))
        last, eaves = (x, z + width), height
        z += width + gap


def _side(rng: np.random.Generator, scene: Scene, side: int) -> Iterator[Object]:
    """Everything on one sidewalk and behind it."""
    kind = scene.kinds[side]
    sign, edge, outer = _edges(scene, side)
    kerb = edge + sign * 0.45

    def put(
        thing: Thing, x: float, z: float, height: float, length: float = 0.0, layer: int = _WALK
    ) -> Object:
        return Object(thing, x, z, length, height, sign, layer, _seed(rng))

    if rng.random() < 0.75:
        spacing, z = rng.uniform(16, 28), rng.uniform(5, 22)
        height = rng.uniform(5.5, 8.5)
        while z < 80:
            yield put("lamp", kerb, z, height)
            z += spacing
    planted = {"city": 0.35, "suburb": 0.8, "park": 1.0}[kind]
    if rng.random() < planted:
        spacing = {"city": 13.0, "suburb": 11.0, "park": 7.0}[kind] * rng.uniform(0.8, 1.3)
        z = rng.uniform(5, 14)
        while z < 70:
            away = 0.9 if kind == "city" else abs(outer - edge) + rng.uniform(0.8, 3.0)
            if not _crossed(scene, z, z, 2.0):
                layer = _WALK if kind == "city" else _GARDEN
                yield put("tree", edge + sign * away, z, rng.uniform(4.5, 9.0), layer=layer)
            z += spacing * rng.uniform(0.7, 1.3)
    if kind == "park":
        z = 6.0
        while z < 75:
            far = edge + sign * (abs(outer - edge) + rng.uniform(5, 16))
            if not _crossed(scene, z, z, 2.0):
                yield put("tree", far, z, rng.uniform(6, 12), layer=_GARDEN)
            z += rng.uniform(4, 8) * (1 + z / 40)
    if kind != "city":
        z = rng.uniform(1.5, 8)
        while z < 70:
            length = rng.uniform(5, 14)
            border: Thing | None = pick(rng, _BORDERS)
            if border is not None and not _crossed(scene, z, z + length, 1.0):
                tall = rng.uniform(0.8, 1.5) if border == "hedge" else rng.uniform(0.9, 1.6)
                yield put(border, outer + sign * 0.15, z, tall, length, _BORDER)
            z += length + rng.uniform(0, 3)
    elif rng.random() < 0.22:
        z = rng.uniform(5, 16)
        yield put("fence", edge + sign * 0.3, z, rng.uniform(0.85, 1.1), rng.uniform(5, 14), _KERB)

    for _ in range(rng.poisson(1.5)):
        yield put("sign", kerb, 5 + 38 * rng.random() ** 1.3, rng.uniform(2.1, 3.1))
    if scene.junction is not None and rng.random() < 0.9:
        near, far = scene.junction
        place = near - 0.8 if side else far + 0.8
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
        walk = abs(outer - edge)
        for companion in range(1 + (rng.random() < 0.25)):
            x = edge + sign * rng.uniform(0.4, max(0.5, walk - 0.3))
            z = 5.5 + 36 * rng.random() ** 1.4 + 0.2 * companion
            yield put("person", x, z, rng.uniform(1.5, 1.9))
    if rng.random() < 0.7:
        z = rng.uniform(4.5, 16)
        density = rng.uniform(0.35, 0.95)
        while z < 62:
            length = rng.uniform(3.7, 4.7)
            if rng.random() < density and not _crossed(scene, z, z + length, 5.0):
                yield put("car", edge - sign * 1.05, z, 1.5, length, _ROAD)
            z += length + rng.uniform(0.8, 1.8)


def _traffic(rng: np.random.Generator, scene: Scene) -> Iterator[Object]:
    """Everything that moves on the road."""
    left, right = scene.road
    for lane, chance in ((0.0, 0.6), (-3.5, 0.75)):
        z = rng.uniform(7, 34)
        while z < 70 and lane > left + 2.2:
            if rng.random() < chance:
                yield Object(
                    "car", lane + rng.uniform(-0.3, 0.3), z, rng.uniform(3.8, 4.7), 1.5,
                    -1 if lane < 0 else 1, _ROAD, _seed(rng),
                )  # fmt: skip
            z += rng.uniform(9, 28)
    for _ in range(rng.poisson(0.75)):
        side = pick(rng, (-1, 1))
        edge = right if side > 0 else left
        x = edge - side * rng.uniform(0.6, 1.2) if rng.random() < 0.6 else rng.uniform(-2, 1.2)
        z, height = 5.5 + 28 * rng.random() ** 1.3, rng.uniform(1.6, 1.8)
        yield Object("rider", x, z, 1.7, height, side, _ROAD, _seed(rng))
    if scene.zebra and scene.junction is not None:
        for _ in range(rng.poisson(1.2)):
            z = scene.junction[0] - rng.uniform(1.8, 4.2)
            x = rng.uniform(left, right)
            yield Object("person", x, z, 0.0, rng.uniform(1.5, 1.9), 1, _ROAD, _seed(rng))
