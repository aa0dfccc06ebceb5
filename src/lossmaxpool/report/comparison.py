"""Runs that can be compared: several methods and seeds on the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lossmaxpool.runs import RecordError
from lossmaxpool.runs.record import DataSummary, RunRecord

BASELINE = "base"


@dataclass(frozen=True)
class MethodRuns:
    """The finished runs of one method, ordered by seed."""

    id: str
    label: str
    runs: tuple[RunRecord, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs on the same data: `methods` holds the finished ones, `runs` also the others."""

    runs: tuple[RunRecord, ...]
    methods: tuple[MethodRuns, ...]

    @property
    def data(self) -> DataSummary:
        return self.runs[0].data

    @property
    def classes(self) -> Sequence[str]:
        return self.runs[0].classes

    @property
    def colors(self) -> Sequence[tuple[int, int, int]]:
        return self.runs[0].colors

    @property
    def train_pixels(self) -> Sequence[int]:
        return self.runs[0].train_pixels

    @property
    def val_pixels(self) -> Sequence[int]:
        return self.runs[0].val_pixels

    @property
    def baseline(self) -> MethodRuns | None:
        return next((method for method in self.methods if method.id == BASELINE), None)


def read_runs(folders: Sequence[Path]) -> Comparison:
    """Reads run folders and checks that they can be compared.

    Returns:
        The comparison, baseline first, the other methods in the order in which they were given.

    Raises:
        RecordError: A record is bad, no run is finished, a (method, seed) occurs twice, or the runs
            differ in classes or data.

    Example:
        >>> from pathlib import Path
        >>> read_runs([])
        Traceback (most recent call last):
        ...
        lossmaxpool.runs.RecordError: No run folders were given. Name at least one.
    """
    if not folders:
        raise RecordError("No run folders were given. Name at least one.")
    runs = [RunRecord.read(Path(folder)) for folder in folders]
    for run in runs[1:]:
        _check_comparable(runs[0], run)
    _check_unique(runs)
    order = sorted(dict.fromkeys(run.method for run in runs), key=lambda id_: id_ != BASELINE)
    runs.sort(key=lambda run: (order.index(run.method), run.seed))
    finished = [run for run in runs if run.finished]
    if not finished:
        states = ", ".join(f"{run.folder}: {run.status}" for run in runs)
        raise RecordError(f"No run is finished ({states}). Resume or repeat at least one.")
    methods = []
    for id_ in order:
        of_method = tuple(run for run in finished if run.method == id_)
        if of_method:
            methods.append(MethodRuns(id_, of_method[0].label, of_method))
    return Comparison(tuple(runs), tuple(methods))


@dataclass(frozen=True)
class MethodSetting:
    """Method, p and m; None where the method does not have them."""

    method: str
    p: float | None = None
    min_support: float | None = None


def method_setting(run: RunRecord) -> MethodSetting:
    """The setting that a run trained: p and m count for max-pooling alone."""
    if not run.max_pooled:
        return MethodSetting(run.method)
    loss = run.config.get("loss")
    options = loss if isinstance(loss, Mapping) else {}
    p, min_support = _number(options.get("p")), _number(options.get("min_support"))
    if p is None or min_support is None:
        raise RecordError(
            f"{run.folder}: config has loss.p {options.get('p')!r} and loss.min_support "
            f"{options.get('min_support')!r}, expected two numbers for the method {run.method!r}. "
            "Train the run again."
        )
    return MethodSetting(run.method, p, min_support)


def _number(value: object) -> float | None:
    """A number of a configuration; JSON has no infinity, which is written as text."""
    if value == "inf":
        return math.inf
    return float(value) if isinstance(value, int | float) else None


def _check_comparable(first: RunRecord, other: RunRecord) -> None:
    for what in ("classes", "colors", "data", "train_pixels", "val_pixels"):
        expected, came = getattr(first, what), getattr(other, what)
        if came != expected:
            raise RecordError(
                f"{other.folder}: {what} {came}, but {first.folder} has {expected}. "
                "Compare runs on the same data with the same classes only."
            )


def _check_unique(runs: Sequence[RunRecord]) -> None:
    seen: dict[tuple[str, int], RunRecord] = {}
    labels: dict[str, RunRecord] = {}
    methods: dict[str, RunRecord] = {}
    for run in runs:
        namesake = labels.setdefault(run.method, run)
        if namesake.label != run.label:
            raise RecordError(
                f"{run.folder} calls {run.method!r} {run.label!r}, but {namesake.folder} calls it "
                f"{namesake.label!r}. Report variants of one method separately."
            )
        rival = methods.setdefault(run.label, run)
        if rival.method != run.method:
            raise RecordError(
                f"{rival.folder} ({rival.method!r}) and {run.folder} ({run.method!r}) are both "
                f"called {run.label!r}. Give each method a label of its own."
            )
        twin = seen.setdefault((run.method, run.seed), run)
        if twin is not run:
            raise RecordError(
                f"{twin.folder} and {run.folder} are both {run.method!r} with seed {run.seed}. "
                "Give one of them: a seed counted twice makes the spread look smaller than it is."
            )
