"""Runs that may stand in one column: same data, same view, same settings but for the row's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossmaxpool.report.comparison import Evaluation, Run
from lossmaxpool.report.fields import RecordError
from lossmaxpool.report.formats import count
from lossmaxpool.report.protocol.evaluations import read_evaluations
from lossmaxpool.report.protocol.views import WHOLE
from lossmaxpool.report.protocol.window import Window
from lossmaxpool.report.published import Recipe, Task

# What the rows of a table or the seeds in a cell vary, and what does not decide a result.
_FREE = (
    "method", "seed", "loss.p", "loss.min_support", "hardware", "reporting",
    "data.root", "data.sbd", "data.classes",
)  # fmt: skip
_FREE_GROUPS = tuple(f"{key}." for key in _FREE)
MAX_POOLING = ("loss-only", "lmp")


@dataclass(frozen=True)
class Scored:
    """One run and its last evaluations under the view of a column."""

    run: Run
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True)
class Column:
    """Runs that differ in method, p, m and seed alone.

    Args:
        task: Data set, split and view.
        settings: Everything else that decides a result, by dotted key.
        letter: Tells columns of one task apart; empty where there is one.
        cells: The runs of each recipe, ordered by seed.
    """

    task: Task
    settings: Mapping[str, str]
    letter: str
    cells: Mapping[Recipe, tuple[Scored, ...]]

    @property
    def name(self) -> str:
        """What stands above the column."""
        letter = f" [{self.letter}]" if self.letter else ""
        return f"{self.task.data} {self.task.split}, {self.task.view}{letter}"

    @property
    def first(self) -> Run:
        """Any run: they share classes and data."""
        return next(iter(self.cells.values()))[0].run

    @property
    def description(self) -> str:
        """Network, length and data in a line."""
        run = self.first
        network = "/".join(
            self.settings[key]
            for key in ("model.architecture", "model.encoder")
            if key in self.settings
        )
        runs = sum(map(len, self.cells.values()))
        steps = max(scored.run.results.step for cell in self.cells.values() for scored in cell)
        parts = [network, f"{steps:,} steps", f"{run.data.train_images:,} training images"]
        return ", ".join([*filter(None, parts), count(runs, "run")])

    def find(self, recipe: Recipe) -> tuple[Scored, ...]:
        """The runs of a recipe; none where nothing was run."""
        return self.cells.get(recipe, ())


def recipe_of(run: Run) -> Recipe:
    """What a run trained, as the tables know it: p and m count for max-pooling alone."""
    if run.method not in MAX_POOLING:
        return Recipe(run.method)
    loss = run.config.get("loss")
    options = loss if isinstance(loss, Mapping) else {}
    p, min_support = _number(options.get("p")), _number(options.get("min_support"))
    if p is None or min_support is None:
        raise RecordError(
            f"{run.folder}: config has loss.p {options.get('p')!r} and loss.min_support "
            f"{options.get('min_support')!r}, expected two numbers for the method {run.method!r}. "
            "Train the run again."
        )
    return Recipe(run.method, p, min_support)


def _number(value: object) -> float | None:
    """A number of a configuration; JSON has no infinity, which is written as text."""
    if value == "inf":
        return math.inf
    return float(value) if isinstance(value, int | float) else None


def columns(runs: Sequence[Run], window: Window) -> tuple[list[Column], list[str]]:
    """Sorts runs into columns.

    Args:
        runs: Finished runs, of anything.
        window: Which evaluations of a run count.

    Returns:
        The columns, and one sentence per run or evaluation that found no place.

    Raises:
        RecordError: The same recipe with the same seed stands twice in a column.
    """
    gathered: dict[tuple[Task, str], dict[Recipe, dict[int, Scored]]] = {}
    notes = []
    for run in runs:
        try:
            recipe, by_task = recipe_of(run), _by_task(run)
        except RecordError as error:
            notes.append(str(error))
            continue
        settings = json.dumps(_settings(run))
        for task, evaluations in by_task.items():
            counted = window.of(evaluations)
            if not counted:
                steps = ", ".join(f"{evaluation.step}" for evaluation in evaluations)
                asked = ", ".join(map(str, window.steps))
                notes.append(f"{run.folder}: evaluated at {steps}, not at all of {asked}.")
                continue
            cell = gathered.setdefault((task, settings), {}).setdefault(recipe, {})
            _check_new(cell.get(run.seed), run)
            cell[run.seed] = Scored(run, counted)
    tasks = [task for task, _ in gathered]
    met: dict[Task, int] = {}
    found = []
    for (task, settings), cells in gathered.items():
        met[task] = met.get(task, 0) + 1
        letter = chr(ord("A") + met[task] - 1) if tasks.count(task) > 1 else ""
        ordered = {r: tuple(cell[seed] for seed in sorted(cell)) for r, cell in cells.items()}
        found.append(Column(task, json.loads(settings), letter, ordered))
    return found, notes


def differing(found: Sequence[Column]) -> list[str]:
    """Per setting in which columns of one task differ, one line with the value of each."""
    lines = []
    for task in dict.fromkeys(column.task for column in found):
        rivals = [column for column in found if column.task == task]
        for key in sorted({key for column in rivals for key in column.settings}):
            values = [column.settings.get(key, "not set") for column in rivals]
            if len(set(values)) > 1:
                each = ", ".join(
                    f"{_short(value)} [{column.letter}]"
                    for column, value in zip(rivals, values, strict=True)
                )
                lines.append(f"{task.data} {task.split}, {task.view}: {key} is {each}")
    return lines


def _by_task(run: Run) -> dict[Task, list[Evaluation]]:
    by_task = {Task(run.data.name, run.data.val_split, WHOLE): list(run.evaluations)}
    for split, view, evaluation in read_evaluations(run):
        known = by_task.setdefault(Task(run.data.name, split, view), [])
        # Training has evaluated whole images at this step itself.
        if evaluation.step not in {other.step for other in known}:
            known.append(evaluation)
    return {task: sorted(each, key=lambda e: e.step) for task, each in by_task.items()}


def _settings(run: Run) -> dict[str, str]:
    """Everything that must agree within a column, flat and in order."""
    flat = {
        key: value
        for key, value in _flat(run.config).items()
        if key not in _FREE and not key.startswith(_FREE_GROUPS)
    }
    flat["data.train_split"] = run.data.train_split
    flat["classes"] = ", ".join(run.classes)
    flat["train_pixels"] = ", ".join(map(str, run.train_pixels))
    flat["val_pixels"] = ", ".join(map(str, run.val_pixels))
    return dict(sorted(flat.items()))


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:39]}…"


def _check_new(twin: Scored | None, run: Run) -> None:
    if twin is not None:
        raise RecordError(
            f"{twin.run.folder} and {run.folder} are both {run.method!r} with seed {run.seed} and "
            "the same settings. Keep one of them there: a seed counted twice makes the spread look "
            "smaller than it is."
        )
