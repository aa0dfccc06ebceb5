"""What a report knows: runs of methods on the same data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossmaxpool.report.fields import RecordError

BASELINE = "base"


@dataclass(frozen=True)
class Data:
    """What was trained and evaluated on."""

    name: str
    train_split: str
    val_split: str
    train_images: int
    val_images: int


@dataclass(frozen=True)
class CurvePoint:
    """One logged training step; `cross_entropy` is the plain mean, comparable between methods."""

    step: int
    loss: float
    cross_entropy: float


@dataclass(frozen=True)
class Evaluation:
    """Scores as fractions in [0, 1]; `iou` has one value per class, NaN for a class left out."""

    step: int
    miou: float
    pixel_accuracy: float
    iou: tuple[float, ...]


@dataclass(frozen=True)
class Example:
    """One validation image and what a run made of it; `weights` is None where not written."""

    name: str
    image: Path
    truth: Path
    prediction: Path
    weights: Path | None


@dataclass(frozen=True)
class Snapshot:
    """A training image, always the same, and what a run made of it after some steps."""

    step: int
    name: str
    image: Path
    truth: Path
    prediction: Path


@dataclass(frozen=True)
class Run:
    """One run of one method with one seed, as its record tells it."""

    folder: Path
    status: str
    method: str
    label: str
    seed: int
    data: Data
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    train_pixels: tuple[int, ...]
    val_pixels: tuple[int, ...]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    curve: tuple[CurvePoint, ...]
    evaluations: tuple[Evaluation, ...]
    examples: tuple[Example, ...]
    seconds: float
    evolution: tuple[Snapshot, ...] = ()
    # Of the last evaluation, rows true, columns predicted; None where a run did not get that far.
    confusion: tuple[tuple[int, ...], ...] | None = None

    @property
    def finished(self) -> bool:
        return self.status == "finished"

    @property
    def final(self) -> Evaluation | None:
        """The last evaluation, or None where the run ended before its first."""
        return self.evaluations[-1] if self.evaluations else None

    @property
    def results(self) -> Evaluation:
        """The last evaluation of a finished run."""
        if self.final is None:
            raise RecordError(f"{self.folder}: no evaluation, expected one of a finished run.")
        return self.final


@dataclass(frozen=True)
class Method:
    """The finished runs of one method, ordered by seed."""

    id: str
    label: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs on the same data: `methods` holds the finished ones, `runs` also the others."""

    runs: tuple[Run, ...]
    methods: tuple[Method, ...]

    @property
    def data(self) -> Data:
        return self.runs[0].data

    @property
    def classes(self) -> tuple[str, ...]:
        return self.runs[0].classes

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        return self.runs[0].colors

    @property
    def train_pixels(self) -> tuple[int, ...]:
        return self.runs[0].train_pixels

    @property
    def val_pixels(self) -> tuple[int, ...]:
        return self.runs[0].val_pixels

    @property
    def baseline(self) -> Method | None:
        return next((method for method in self.methods if method.id == BASELINE), None)
