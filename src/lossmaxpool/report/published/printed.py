"""What a printed table consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What the scores of a table are of.

    Args:
        data: The id of the data set.
        split: What was evaluated.
        view: How the images were cut, as :func:`lossmaxpool.report.protocol.view_of` words it.
    """

    data: str
    split: str
    view: str


@dataclass(frozen=True)
class Recipe:
    """What a run must have trained to stand in a row; None where it does not matter.

    Args:
        method: The id of the method.
        p: The norm of the weighting set.
        min_support: m / n.
    """

    method: str
    p: float | None = None
    min_support: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        name: Its first cell.
        cells: The others, as printed.
        recipe: What was trained; None for other authors' networks, which are not trained here.
    """

    name: str
    cells: tuple[str, ...]
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Table:
    """A table with one method or setting per row.

    Args:
        name: "Table 1".
        title: What it shows.
        task: What it was measured on.
        head: The names of the columns.
        rows: The lines.
        remarks: What a reader of the figures must know.
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
        title: What it shows.
        task: What it was measured on.
        classes: The names of the columns but for the last, which is the mean.
        means: Per recipe one cell per class, then the mean.
        deviations: Likewise their standard deviations.
        labels: The name of each recipe.
    """

    name: str
    title: str
    task: Task
    classes: tuple[str, ...]
    means: Mapping[Recipe, tuple[str, ...]]
    deviations: Mapping[Recipe, tuple[str, ...]]
    labels: Mapping[Recipe, str]


def value(cell: str) -> float:
    """The number of a cell, which one cell of the paper prints with a decimal comma.

    Example:
        >>> value("74,35"), value("72.55 ±0.04")
        (74.35, 72.55)
    """
    return float(cell.partition("±")[0].replace(",", "."))
