"""The classes of the street scenes, with the names and colours that Cityscapes made usual."""

from __future__ import annotations

from enum import IntEnum

from lossmaxpool.data.sample import IGNORE_INDEX, LabelSet


class Street(IntEnum):
    """Class ids of the street scenes."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    FENCE = 3
    POLE = 4
    TRAFFIC_LIGHT = 5
    TRAFFIC_SIGN = 6
    VEGETATION = 7
    SKY = 8
    PERSON = 9
    RIDER = 10
    CAR = 11
    VOID = IGNORE_INDEX


LABELS = LabelSet(
    names=tuple(
        street.name.lower().replace("_", " ") for street in Street if street is not Street.VOID
    ),
    colors=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
    ),
)
