"""The tables of Rota Bulò et al. 2017, each cell as printed.

Tables 1, 2 and 4 and the comparison of m in Section 5.2 have one setting per row; Table 3 gives the
IoU per class under BASE+ and LMP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lossmaxpool.report.comparison import MethodSetting


@dataclass(frozen=True)
class Task:
    """The data that the scores of a table were measured on.

    Args:
        data: The id of the data set.
        split: The split that was evaluated.
        view: How the images were cut, as :func:`reproduction.runs.view_of` words it.
    """

    data: str
    split: str
    view: str


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        name: Its first cell.
        cells: The others, as printed.
        setting: The method and its p and m; None for other authors' networks, not trained here.
    """

    name: str
    cells: tuple[str, ...]
    setting: MethodSetting | None = None


@dataclass(frozen=True)
class Table:
    """A table with one method or setting per row.

    Args:
        name: "Table 1".
        title: Its subject.
        task: The data it was measured on.
        head: The names of the columns.
        rows: The lines.
        remarks: Misprints and other notes on its figures.
    """

    name: str
    title: str
    task: Task
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassTable:
    """A table of IoU per class.

    Args:
        name: "Table 3 (a)".
        title: Its subject.
        task: The data it was measured on.
        classes: The names of the columns but for the last, which is the mean.
        means: Per setting one cell per class, then the mean.
        deviations: Likewise their standard deviations.
        labels: The name of each setting.
    """

    name: str
    title: str
    task: Task
    classes: tuple[str, ...]
    means: Mapping[MethodSetting, tuple[str, ...]]
    deviations: Mapping[MethodSetting, tuple[str, ...]]
    labels: Mapping[MethodSetting, str]


def value(cell: str) -> float:
    """The number of a cell, which one cell of the paper prints with a decimal comma.

    Example:
        >>> value("74,35"), value("72.55 ±0.04")
        (74.35, 72.55)
    """
    return float(cell.partition("±")[0].replace(",", "."))


_LMP = MethodSetting("lmp", 1.3, 0.25)
_LOSS_ONLY = MethodSetting("loss-only", 1.3, 0.25)


def _norm(p: str, *cells: str) -> Row:
    return Row(p, cells, MethodSetting("lmp", float(p), 0.25))


TABLE_1 = Table(
    name="Table 1",
    title="p, with m = 25 % of the valid pixels: mIoU on Cityscapes, efficient tiling",
    task=Task("cityscapes", "val", "efficient tiling"),
    head=("p", "150k", "160k", "165k", "Mean", "Std.Dev."),
    rows=(
        _norm("1.0", "74,35", "74.64", "74.64", "74.54", "0.17"),
        _norm("1.1", "74.34", "74.61", "74.60", "74.52", "0.15"),
        _norm("1.2", "74.42", "74.60", "74.77", "74.60", "0.18"),
        _norm("1.3", "74.52", "74.71", "74.69", "74.64", "0.10"),
        _norm("1.4", "74.33", "74.51", "74.49", "74.44", "0.10"),
        _norm("1.5", "74.03", "73.99", "74.04", "74.02", "0.03"),
        _norm("1.6", "74.05", "74.42", "74.52", "74.33", "0.25"),
        _norm("1.7", "74.10", "74.56", "74.74", "74.57", "0.17"),
        _norm("1.8", "73.65", "74.18", "74.17", "74.00", "0.30"),
        _norm("1.9", "73.97", "74.21", "74.48", "74.22", "0.26"),
        _norm("2.3", "73.93", "74.23", "74.12", "74.09", "0.15"),
        Row("BASE+", ("73.12", "73.16", "73.10", "73.13", "0.03"), MethodSetting("base+")),
    ),
    remarks=(
        "p = 1.7 contradicts itself: its scores give 74.47 ± 0.33. With 74.40 for the first, mean "
        "and deviation are as printed.",
        'p = 1.0: "74,35" as printed, for 74.35.',
    ),
)

SUPPORT = Table(
    name="Section 5.2",
    title="m, with p = 1.3: mIoU on Cityscapes, efficient tiling",
    task=TABLE_1.task,
    head=("m / n", "mean IoU"),
    rows=(
        Row("10 %", ("74.09 ±0.22",), MethodSetting("lmp", 1.3, 0.1)),
        Row("25 %", ("74.64 ±0.10",), _LMP),
        Row("50 %", ("73.44 ±0.21",), MethodSetting("lmp", 1.3, 0.5)),
    ),
)

TABLE_2 = Table(
    name="Table 2",
    title="Methods: mIoU on Cityscapes, optimized tiling",
    task=Task("cityscapes", "val", "optimized tiling"),
    head=("Method", "mean IoU"),
    rows=(
        Row("[9] RN-101 & Augm. & ASPP", ("71.0",)),
        Row("[9] RN-101 & Augm. & ASPP & CRF", ("71.4",)),
        Row("[43] FCRN-101 & Augm.", ("71.16",)),
        Row("[43] FCRN-152 & Augm.", ("71.51",)),
        Row("[43] FCRN-152 & Online BS & Augm.", ("74.64",)),
        Row("BASE Augm. & ASPP", ("72.55 ±0.04",), MethodSetting("base")),
        Row("BASE+ Augm. & ASPP", ("73.63 ±0.04",), MethodSetting("base+")),
        Row(
            "[12] Inverse median freq. & Augm. & ASPP",
            ("69.81 ±0.08",),
            MethodSetting("inverse-median"),
        ),
        Row("Proposed loss only & Augm. & ASPP", ("74.17 ±0.03",), _LOSS_ONLY),
        Row("LMP Augm. & ASPP", ("75.06 ±0.09",), _LMP),
    ),
)

TABLE_4 = Table(
    name="Table 4",
    title="Methods: mIoU on Pascal VOC 2012, whole images",
    task=Task("voc", "val", "whole images"),
    head=("Method", "mean IoU"),
    rows=(
        Row("[9] RN-101 Base w/o COCO", ("68.72",)),
        Row("[9] RN-101 & MSC & Augm. & ASPP", ("76.35",)),
        Row("[9] RN-101 & MSC & Augm. & ASPP & CRF", ("77.69",)),
        Row("[43] FCRN-101 & Augm.", ("73.41",)),
        Row("[43] FCRN-152 & Augm.", ("73.32",)),
        Row("[43] FCRN-101 & Online BS & Augm.", ("74.80",)),
        Row("[43] FCRN-152 & Online BS & Augm.", ("74.72",)),
        Row("BASE Augm. & ASPP", ("75.74 ±0.05",), MethodSetting("base")),
        Row("BASE+ Augm. & ASPP", ("75.42 ±0.04",), MethodSetting("base+")),
        Row(
            "[12] Inverse median freq. & Augm. & ASPP",
            ("74.93 ±0.03",),
            MethodSetting("inverse-median"),
        ),
        Row("Proposed loss only & Augm. & ASPP", ("76.01 ±0.01",), _LOSS_ONLY),
        Row("LMP Augm. & ASPP", ("76.29 ±0.02",), _LMP),
    ),
)

_BASE_PLUS = MethodSetting("base+")
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
