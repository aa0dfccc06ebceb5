"""The run record: what a run leaves behind for whoever compares runs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lossmaxpool.atomic import write_atomically
from lossmaxpool.training.errors import TrainingError

SCHEMA = 1
RECORD = "record.json"
Status = Literal["finished", "interrupted", "failed"]


@dataclass
class RunRecord:
    """One training run as plain values; ``record.json`` in its folder.

    Args:
        status: How the run ended; "interrupted" until it has.
        method: The id of the method.
        label: The name of the method in tables.
        seed: The seed of the run.
        data: Name of the data set, names and sizes of its splits.
        classes: Names of the C classes.
        colors: Their colours, RGB.
        train_pixels: Valid training pixels per class.
        val_pixels: Valid validation pixels per class.
        config: The resolved configuration.
        environment: Device, versions, date.
        curve: Loss, plain cross-entropy and learning rate of the batch at some steps.
        evaluations: Step, mIoU, pixel accuracy and per-class IoU of every evaluation.
        confusion: The integer confusion matrix (truth, prediction) of the last evaluation.
        iou: Its per-class IoU; None for a class absent from truth and prediction.
        miou: Its mean over the classes.
        pixel_accuracy: Its share of right pixels.
        examples: Images of a few validation images, relative to the run folder.
        evolution: Pictures of a few training images at every evaluation, likewise.
        seconds: Time spent training and evaluating, over all sessions.
        waiting: Share of the time that the last session's first batches waited for their images.
        schema: The version of this layout.
    """

    status: Status
    method: str
    label: str
    seed: int
    data: dict[str, Any]
    classes: list[str]
    colors: list[list[int]]
    train_pixels: list[int]
    val_pixels: list[int]
    config: dict[str, Any]
    environment: dict[str, Any]
    curve: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    iou: list[float | None] = field(default_factory=list)
    miou: float | None = None
    pixel_accuracy: float | None = None
    examples: list[dict[str, str]] = field(default_factory=list)
    evolution: list[dict[str, str | int]] = field(default_factory=list)
    seconds: float = 0.0
    waiting: float | None = None
    schema: int = SCHEMA

    def write(self, folder: Path) -> None:
        """Write ``record.json`` into the run folder, whole or not at all."""
        content = asdict(self) | {"config": _without_infinity(self.config)}
        text = json.dumps(content, indent=1, allow_nan=False)
        write_atomically(folder / RECORD, text.encode())

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read the record of a run folder.

        Raises:
            TrainingError: It is of another version of this package.
        """
        content = json.loads((folder / RECORD).read_text())
        if content.get("schema") != SCHEMA:
            raise TrainingError(
                f"{folder / RECORD} has schema {content.get('schema')}, expected {SCHEMA}: "
                "another version of lossmaxpool wrote it; train into a new folder"
            )
        return cls(**content)


def _without_infinity(config: Any) -> Any:
    """A configuration as JSON can hold it: p may be infinite, which is then the word "inf"."""
    if isinstance(config, dict):
        return {key: _without_infinity(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [_without_infinity(value) for value in config]
    return str(config) if isinstance(config, float) and math.isinf(config) else config
