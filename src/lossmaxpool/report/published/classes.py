"""Table 3: IoU per class under BASE+ and LMP."""

from __future__ import annotations

from lossmaxpool.report.published.methods import TABLE_2, TABLE_4
from lossmaxpool.report.published.printed import ClassTable, Recipe

_BASE_PLUS = Recipe("base+")
_LMP = Recipe("lmp", 1.3, 0.25)
_LABELS = {_BASE_PLUS: "BASE+", _LMP: "LMP"}


def _cells(line: str) -> tuple[str, ...]:
    return tuple(line.split())


TABLE_3A = ClassTable(
    name="Table 3 (a)",
    title="IoU per class on Cityscapes, optimized tiling",
    task=TABLE_2.task,
    classes=(
        "Road", "Sidewalk", "Building", "Wall", "Fence", "Pole", "Traffic Light", "Traffic Sign",
        "Vegetation", "Terrain", "Sky", "Person", "Rider", "Car", "Truck", "Bus", "Train",
        "Motorcycle", "Bicycle",
    ),
    means={
        _BASE_PLUS: _cells(
            "97.37 80.60 90.99 53.23 54.67 56.72 63.29 72.62 91.19 59.85 93.46 78.59 59.08 93.41 "
            "68.94 80.49 67.77 62.51 74.09 73.63"
        ),
        _LMP: _cells(
            "97.51 81.56 91.52 55.43 56.88 59.01 66.33 74.77 91.61 60.85 93.80 79.91 60.76 93.93 "
            "67.11 83.87 70.42 65.15 75.76 75.06"
        ),
    },
    deviations={
        _BASE_PLUS: _cells(
            "0.01 0.02 0.14 0.92 0.05 0.08 0.56 0.13 0.13 0.96 0.16 0.18 0.31 0.12 0.26 1.08 3.12 "
            "0.70 0.11 0.04"
        ),
        _LMP: _cells(
            "0.05 0.32 0.06 0.80 0.68 0.31 0.27 0.21 0.07 0.27 0.09 0.08 0.29 0.01 0.77 0.44 0.53 "
            "0.44 0.14 0.09"
        ),
    },
    labels=_LABELS,
)  # fmt: skip

TABLE_3B = ClassTable(
    name="Table 3 (b)",
    title="IoU per class on Pascal VOC 2012, whole images",
    task=TABLE_4.task,
    classes=(
        "Background", "Aeroplane", "Bicycle", "Bird", "Boat", "Bottle", "Bus", "Car", "Cat",
        "Chair", "Cow", "Dining Table", "Dog", "Horse", "Motorbike", "Person", "Potted Plant",
        "Sheep", "Sofa", "Train", "TV Monitor",
    ),
    means={
        _BASE_PLUS: _cells(
            "92.69 83.21 78.46 81.39 67.95 77.59 92.14 80.17 86.99 38.49 80.86 55.95 81.03 80.64 "
            "79.28 81.14 61.74 81.51 47.76 82.25 72.68 75.42"
        ),
        _LMP: _cells(
            "92.84 85.02 79.62 81.43 69.99 76.36 92.38 82.38 89.43 39.78 82.70 58.60 82.85 81.82 "
            "80.17 81.60 61.22 84.30 45.44 82.52 71.70 76.29"
        ),
    },
    deviations={
        _BASE_PLUS: _cells(
            "0.00 0.32 0.04 0.03 0.14 0.02 0.12 0.14 0.08 0.03 0.06 0.10 0.02 0.22 0.06 0.03 0.35 "
            "0.21 0.24 0.09 0.24 0.04"
        ),
        _LMP: _cells(
            "0.02 0.18 0.03 0.34 0.26 0.10 0.17 0.05 0.10 0.06 0.17 0.10 0.05 0.03 0.07 0.05 0.14 "
            "0.19 0.04 0.09 0.10 0.02"
        ),
    },
    labels=_LABELS,
)  # fmt: skip
