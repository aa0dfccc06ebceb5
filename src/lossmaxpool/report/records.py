"""Run folders in, validated runs out: everything that a report knows comes through here."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from lossmaxpool.metrics import ConfusionMatrix
from lossmaxpool.report.comparison import (
    BASELINE,
    Comparison,
    CurvePoint,
    Data,
    Evaluation,
    Example,
    Method,
    Run,
    Snapshot,
)
from lossmaxpool.report.fields import Fields, RecordError

SCHEMA = 1
# A run that was killed has no time to say so: its record stays "running".
STATUSES = ("finished", "interrupted", "failed", "running")
# A record holds the same numbers more than once (a mean and its terms, an IoU and its counts); they
# may differ by rounding to a few digits when written, never by more.
AGREEMENT = 1e-4


def read_run(folder: Path) -> Run:
    """Reads and validates the record of one run folder.

    Args:
        folder: Holds ``record.json`` (schema 1).

    Returns:
        The run. Records of unfinished runs may lack results; finished ones may not.

    Raises:
        RecordError: The record is missing, not JSON, of another schema, partial, or contradicts
            itself.
    """
    path = Path(folder) / "record.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise RecordError(
            f"{path}: not found. Expected a run folder as training writes it; "
            "check the path, or train that run first."
        ) from None
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise RecordError(
            f"{path}: not valid JSON ({error}). A record is written in one piece; "
            "this one was cut or edited. Train the run again."
        ) from error
    return _parse(Fields.of(content, str(path)), Path(folder))


def read_runs(folders: Sequence[Path]) -> Comparison:
    """Reads run folders and checks that they can be compared.

    Args:
        folders: Run folders, of one or more methods and seeds, in any order.

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
        lossmaxpool.report.fields.RecordError: No run folders were given. Name at least one.
    """
    if not folders:
        raise RecordError("No run folders were given. Name at least one.")
    runs = [read_run(Path(folder)) for folder in folders]
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
            methods.append(Method(id_, of_method[0].label, of_method))
    return Comparison(tuple(runs), tuple(methods))


def _parse(fields: Fields, folder: Path) -> Run:
    schema = fields.integer("schema")
    if schema != SCHEMA:
        raise RecordError(
            f"{fields.where}: schema {schema}, expected {SCHEMA}. "
            "Use the version of lossmaxpool that wrote it, or train again."
        )
    status = fields.text("status")
    if status not in STATUSES:
        raise RecordError(
            f"{fields.where}: status {status!r}, expected one of {', '.join(STATUSES)}."
        )
    finished = status == "finished"
    classes = tuple(fields.texts("classes"))
    if len(set(classes)) != len(classes) or not classes:
        raise RecordError(f"{fields.where}: classes {list(classes)}, expected distinct names.")
    # What an unfinished run did not come to is absent or null; a finished run must have it all.
    curve = fields.children("curve", required=finished)
    evaluations = fields.children("evaluations", required=finished)
    run = Run(
        folder=folder,
        status=status,
        method=fields.text("method"),
        label=fields.text("label"),
        seed=fields.integer("seed"),
        data=_data(fields.child("data")),
        classes=classes,
        colors=_colors(fields, len(classes)),
        train_pixels=fields.counts("train_pixels", len(classes)),
        val_pixels=fields.counts("val_pixels", len(classes)),
        config=fields.mapping("config"),
        environment=fields.mapping("environment"),
        curve=tuple(_curve_point(point) for point in curve),
        evaluations=tuple(_evaluation(one, len(classes)) for one in evaluations),
        examples=tuple(_example(one, folder) for one in fields.children("examples")),
        seconds=fields.number("seconds") if finished or fields.has("seconds") else math.nan,
        evolution=tuple(_snapshot(one, folder) for one in fields.children("evolution")),
        confusion=_confusion(fields, len(classes)) if finished else None,
    )
    if not sum(run.train_pixels):
        raise RecordError(f"{fields.where}: train_pixels are all 0, expected labelled pixels.")
    if finished:
        _check_results(fields, run)
    return run


def _data(fields: Fields) -> Data:
    return Data(
        name=fields.text("name"),
        train_split=fields.text("train_split"),
        val_split=fields.text("val_split"),
        train_images=fields.integer("train_images"),
        val_images=fields.integer("val_images"),
    )


def _colors(fields: Fields, num_classes: int) -> tuple[tuple[int, int, int], ...]:
    colors = fields.sequence("colors", num_classes)
    for color in colors:
        if not (
            isinstance(color, list)
            and len(color) == 3
            and all(type(channel) is int and 0 <= channel <= 255 for channel in color)
        ):
            raise RecordError(f"{fields.where}: color {color!r}, expected [r, g, b] of 0 to 255.")
    return tuple((r, g, b) for r, g, b in colors)


def _curve_point(fields: Fields) -> CurvePoint:
    return CurvePoint(fields.integer("step"), fields.number("loss"), fields.number("cross_entropy"))


def _evaluation(fields: Fields, num_classes: int) -> Evaluation:
    evaluation = Evaluation(
        step=fields.integer("step"),
        miou=fields.fraction("miou"),
        pixel_accuracy=fields.fraction("pixel_accuracy"),
        iou=fields.fractions("iou", num_classes),
    )
    present = [value for value in evaluation.iou if not math.isnan(value)]
    mean = math.fsum(present) / len(present) if present else math.nan
    if not _agree(evaluation.miou, mean):
        raise RecordError(
            f"{fields.where}: miou {evaluation.miou}, but the mean of its iou is {mean:.6f}. "
            "The record contradicts itself; train the run again."
        )
    return evaluation


def _example(fields: Fields, folder: Path) -> Example:
    return Example(
        fields.text("name"),
        _inside(fields, "image", folder),
        _inside(fields, "truth", folder),
        _inside(fields, "prediction", folder),
        _inside(fields, "weights", folder) if fields.has("weights") else None,
    )


def _snapshot(fields: Fields, folder: Path) -> Snapshot:
    return Snapshot(
        fields.integer("step"),
        fields.text("name"),
        _inside(fields, "image", folder),
        _inside(fields, "truth", folder),
        _inside(fields, "prediction", folder),
    )


def _inside(fields: Fields, key: str, folder: Path) -> Path:
    relative = Path(fields.text(key))
    # A page embeds what a record points at: nothing outside the run folder, ever.
    if relative.is_absolute() or ".." in relative.parts:
        raise RecordError(
            f"{fields.where}: {key} {str(relative)!r}, expected a path inside the run folder."
        )
    return folder / relative


def _check_results(fields: Fields, run: Run) -> None:
    final = run.results
    matrix = ConfusionMatrix.from_counts(torch.tensor(run.confusion, dtype=torch.int64))
    counted = (matrix.miou(), matrix.pixel_accuracy(), *matrix.iou().tolist())
    if math.isnan(final.miou):
        raise RecordError(
            f"{fields.where}: miou is null, expected a number. No pixel of the validation split is "
            "labelled; check its masks."
        )
    stated = (
        fields.fraction("miou"),
        fields.fraction("pixel_accuracy"),
        *fields.fractions("iou", len(run.classes)),
    )
    evaluated = (final.miou, final.pixel_accuracy, *final.iou)
    if not all(_agree(a, b) for a, b in zip(evaluated, counted, strict=True)):
        raise RecordError(
            f"{fields.where}: miou, pixel_accuracy and iou of the last evaluation are "
            f"{_listed(evaluated)}, but its confusion gives {_listed(counted)}. "
            "The record contradicts itself; train the run again."
        )
    if not all(_agree(a, b) for a, b in zip(stated, evaluated, strict=True)):
        raise RecordError(
            f"{fields.where}: its results (miou {stated[0]}) are not those of its last evaluation "
            f"(miou {final.miou}, step {final.step}). The record contradicts itself; train again."
        )


def _confusion(fields: Fields, num_classes: int) -> tuple[tuple[int, ...], ...]:
    rows = fields.sequence("confusion", num_classes)
    if not all(
        isinstance(row, list)
        and len(row) == num_classes
        and all(type(count) is int and count >= 0 for count in row)
        for row in rows
    ):
        raise RecordError(
            f"{fields.where}: confusion, expected {num_classes} rows of {num_classes} integers "
            "of at least 0."
        )
    return tuple(tuple(row) for row in rows)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _agree(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= AGREEMENT


def _check_comparable(first: Run, other: Run) -> None:
    for what in ("classes", "colors", "data", "train_pixels", "val_pixels"):
        expected, came = getattr(first, what), getattr(other, what)
        if came != expected:
            raise RecordError(
                f"{other.folder}: {what} {came}, but {first.folder} has {expected}. "
                "Compare runs on the same data with the same classes only."
            )


def _check_unique(runs: Sequence[Run]) -> None:
    seen: dict[tuple[str, int], Run] = {}
    labels: dict[str, Run] = {}
    methods: dict[str, Run] = {}
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
