"""Scores of single checkpoints, as ``lossmaxpool evaluate --json`` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lossmaxpool.report.comparison import Evaluation, Run
from lossmaxpool.report.fields import Fields, RecordError
from lossmaxpool.report.protocol.views import view_of

FOLDER = "evaluations"
# Chosen on the validation images: its score is no measurement.
_BEST = "best.ckpt"


def read_evaluations(run: Run) -> Iterator[tuple[str, str, Evaluation]]:
    """The evaluations in ``<run>/evaluations/*.json``.

    Args:
        run: A finished run.

    Yields:
        The split, the view, and the scores.

    Raises:
        RecordError: A file is damaged, of other classes or data than the run, or of the best
            checkpoint.
    """
    for path in sorted((run.folder / FOLDER).glob("*.json")):
        yield _read(path, run)


def _read(path: Path, run: Run) -> tuple[str, str, Evaluation]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path}: not valid JSON ({error}). Evaluate again.") from error
    fields = Fields.of(content, str(path))
    data = fields.child("data")
    classes = tuple(fields.texts("classes"))
    if classes != run.classes or data.text("name") != run.data.name:
        raise RecordError(
            f"{path}: {data.text('name')} with {len(classes)} classes, but its run is on "
            f"{run.data.name} with {len(run.classes)}. Move it to the run that it is of."
        )
    evaluation = Evaluation(
        step=_step(fields, run),
        miou=fields.fraction("miou"),
        pixel_accuracy=fields.fraction("pixel_accuracy"),
        iou=fields.fractions("iou", len(classes)),
    )
    return data.text("split"), view_of(fields.mapping("inference")), evaluation


def _step(fields: Fields, run: Run) -> int:
    if Path(fields.text("checkpoint")).name == _BEST:
        raise RecordError(
            f"{fields.where}: it evaluates {_BEST}, which was chosen on the validation images. "
            f"Evaluate {run.folder / 'checkpoints' / 'last.ckpt'}, or those of single steps that "
            "--reporting.keep_checkpoints leaves."
        )
    return fields.integer("step")
