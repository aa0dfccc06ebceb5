"""The run record, ``record.json``: what a run has found, for everything that compares runs.

Training fills and writes it, report and reproduction read it. A missing number (the IoU of a class
that is neither in the truth nor predicted, a loss that was not logged) is NaN here, null in JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails, PydanticCustomError

from lossmaxpool.atomic import write_atomically
from lossmaxpool.runs import RecordError
from lossmaxpool.runs.config import with_new_names
from lossmaxpool.runs.methods import Method, method_named

SCHEMA = 1
RECORD = "record.json"
# The list of suspected labels, beside it.
SUSPECTS = "suspects.csv"
# "interrupted" from the start until the run has ended otherwise: a kill leaves no time to say so.
Status = Literal["finished", "interrupted", "failed"]
# A record holds the same numbers more than once (a mean and its terms, an IoU and its counts); they
# may differ by rounding to a few digits when written, never by more.
AGREEMENT = 1e-4


def _expect(expected: str, holds: bool, value: Any) -> Any:
    if not holds:
        raise PydanticCustomError("expected", "{expected}", {"expected": expected})
    return value


def _fraction(value: float) -> float:
    is_one = math.isnan(value) or 0 <= value <= 1
    found: float = _expect("a fraction in [0, 1], or null", is_one, value)
    return found


def _inside(value: str) -> str:
    # A report embeds the files that a record names: nothing outside the run folder, ever.
    path = PurePosixPath(value)
    inside = not path.is_absolute() and ".." not in path.parts and ":" not in value
    found: str = _expect("a path inside the run folder", inside and "\\" not in value, value)
    return found


# math.nan itself, so that records which lack the same numbers are equal.
_Number = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    AfterValidator(lambda value: math.nan if math.isnan(value) else value),
    PlainSerializer(lambda value: None if math.isnan(value) else value),
]
_Fraction = Annotated[_Number, AfterValidator(_fraction)]
_Count = Annotated[int, AfterValidator(lambda v: _expect("integers of at least 0", v >= 0, v))]
_Byte = Annotated[
    int, AfterValidator(lambda v: _expect("[r, g, b] of 0 to 255", v in range(256), v))
]
_Inside = Annotated[str, AfterValidator(_inside)]


@dataclass(frozen=True)
class DataSummary:
    """The data that was trained and evaluated on."""

    name: str
    train_split: str
    val_split: str
    train_images: int
    val_images: int


@dataclass(frozen=True)
class CurvePoint:
    """One logged step; ``cross_entropy`` is the plain mean, comparable between methods."""

    step: int
    loss: _Number
    cross_entropy: _Number
    learning_rate: _Number = math.nan


@dataclass(frozen=True)
class Evaluation:
    """Scores on the validation split after a step, as fractions; ``iou`` has one per class."""

    step: int
    miou: _Fraction
    pixel_accuracy: _Fraction
    iou: list[_Fraction]


@dataclass(frozen=True)
class CalibrationBins:
    """Confidence and accuracy of the validation pixels, by bins of their confidence.

    Args:
        ece: The expected calibration error, as a fraction.
        classwise_ece: The mean of the calibration errors of the probabilities of all classes.
        pixels: The number of pixels in each bin; the bins are of equal width, from 0 to 1.
        confidence: The mean of the largest probability of a pixel in each bin.
        accuracy: The share of the right pixels in each bin.
    """

    ece: _Fraction
    classwise_ece: _Fraction
    pixels: list[_Count]
    confidence: list[_Fraction]
    accuracy: list[_Fraction]


@dataclass(frozen=True)
class WeightPoint:
    """Where a pooled loss put its weights in a step: means over its pools, the images or batches.

    Args:
        step: After which it was the loss.
        threshold: alpha*, the loss above which a pixel carries the cap.
        capped_share: ``|J*| / n``, the share of the pixels that do.
        effective_support: ``(sum w)^2 / sum w^2 / n``.
        class_mass: Share of the weight on the pixels of each class.
        class_share: Share of these pixels.
    """

    step: int
    threshold: _Number
    capped_share: _Fraction
    effective_support: _Fraction
    class_mass: list[_Fraction]
    class_share: list[_Fraction]


@dataclass(frozen=True)
class SuspectLabel:
    """A region of a training image whose label is suspected to be wrong.

    Args:
        box: Top, left, bottom and right in shares of the image.
        predicted: The class that the trained network sees there.
        score: How far its losses exceed the threshold; the list is in this order.
        persistence: The share of its looks in which it carried the cap.
        picture: Image, label and prediction of the region, with a margin.
    """

    name: str
    box: tuple[float, float, float, float]
    label: str
    predicted: str
    score: float
    persistence: _Fraction
    picture: _Inside


@dataclass(frozen=True)
class Picture:
    """An image and what a run made of it; the paths are relative to the run folder.

    Args:
        truth: Its labels in the colors of the classes.
        prediction: The classes that were predicted, likewise.
        weights: Where the weights of loss max-pooling lie; None where that was not drawn.
        step: After which step, for the pictures of the course of training.
    """

    name: str
    image: _Inside
    truth: _Inside
    prediction: _Inside
    weights: _Inside | None = None
    step: int | None = None


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
        colors: Their colors, RGB.
        train_pixels: Valid training pixels per class.
        val_pixels: Valid validation pixels per class.
        config: The resolved configuration; an infinite p is the text "inf".
        environment: Device, versions, date.
        curve: Loss, plain cross-entropy and learning rate of the batch at some steps.
        evaluations: The scores of every evaluation.
        confusion: The integer confusion matrix (truth, prediction) of the last evaluation.
        calibration: Its confidence and accuracy, from the end of training.
        examples: Pictures of a few validation images.
        evolution: Pictures of a few training images at every evaluation.
        weights: Where the weights of the loss sat at some steps, if it pools.
        suspects: Regions whose labels are suspected to be wrong, the most suspicious first.
        seconds: Time spent training and evaluating, over all sessions.
        waiting: Share of the time that the last session's first batches waited for their images.
        schema: The version of this layout.
        folder: Where the record was read from; not part of the file.
    """

    status: Status
    method: str
    label: str
    seed: int
    data: DataSummary
    classes: list[str]
    colors: list[tuple[_Byte, _Byte, _Byte]]
    train_pixels: list[_Count]
    val_pixels: list[_Count]
    config: dict[str, Any]
    environment: dict[str, Any]
    curve: list[CurvePoint] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    confusion: list[list[_Count]] = field(default_factory=list)
    calibration: CalibrationBins | None = None
    examples: list[Picture] = field(default_factory=list)
    evolution: list[Picture] = field(default_factory=list)
    weights: list[WeightPoint] = field(default_factory=list)
    suspects: list[SuspectLabel] = field(default_factory=list)
    seconds: _Number = 0.0
    waiting: float | None = None
    schema: int = SCHEMA
    folder: Path = field(default=Path(), compare=False)

    @property
    def data_name(self) -> str:
        """The name of the data set; that of its folder where it is read from plain folders."""
        options = self.config.get("data")
        root = options.get("root") if isinstance(options, Mapping) else None
        folder = Path(root).name if isinstance(root, str) else ""
        return folder if self.data.name == "folders" and folder else self.data.name

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.status == "finished"

    @property
    def final(self) -> Evaluation | None:
        """The last evaluation, or None where the run ended before its first."""
        return self.evaluations[-1] if self.evaluations else None

    @property
    def results(self) -> Evaluation:
        """The last evaluation, whose scores are those of the run."""
        if self.final is None:
            raise RecordError(f"{self.folder}: no evaluation, expected one of a finished run.")
        return self.final

    @property
    def iou(self) -> list[float]:
        """The IoU of each class in the last evaluation."""
        return self.final.iou if self.final else []

    @property
    def miou(self) -> float:
        """Its mean; NaN before the first evaluation."""
        return self.final.miou if self.final else math.nan

    @property
    def pixel_accuracy(self) -> float:
        """The share of right pixels in the last evaluation."""
        return self.final.pixel_accuracy if self.final else math.nan

    @property
    def known_method(self) -> Method | None:
        """The method as the configuration defines it; None for one that this version lacks."""
        try:
            return method_named(self.method, self.config.get("losses") or {})
        except ValueError:
            return None

    @property
    def max_pooled(self) -> bool:
        """Whether p and min_support of the configuration change its criterion."""
        return self.known_method is not None and self.known_method.max_pooled

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON holds it, with the results of its last evaluation."""
        content: dict[str, Any] = _RECORD.dump_python(self, mode="json", exclude={"folder"})
        last = content["evaluations"][-1] if self.evaluations else {"iou": []}
        results = {key: last.get(key) for key in ("iou", "miou", "pixel_accuracy")}
        return content | results | {"config": _without_infinity(self.config)}

    def write(self, folder: Path) -> None:
        """Write ``record.json`` into the run folder, whole or not at all."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        write_atomically(folder / RECORD, text.encode())

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read and check the record of a run folder.

        Args:
            folder: Holds ``record.json``, of this version or of 0.1.

        Raises:
            RecordError: The record is missing, not JSON, of another schema, partial, or contradicts
                itself.
        """
        path = Path(folder) / RECORD
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise RecordError(
                f"{path}: not found. Expected a run folder as training writes it; "
                "check the path, or train that run first."
            ) from None
        except ValueError as error:
            raise RecordError(
                f"{path}: not valid JSON ({error}). A record is written in one piece; "
                "this one was cut or edited. Train the run again."
            ) from error
        if not isinstance(content, dict):
            raise RecordError(f"{path}: {_shown(content)}, expected a JSON object.")
        return _checked(content, path)

    def gathered(self) -> dict[str, Any]:
        """Return what a run has found so far, as plain values for a checkpoint."""
        return {key: [asdict(one) for one in getattr(self, key)] for key in _GATHERED} | {
            "confusion": self.confusion,
            "calibration": asdict(self.calibration) if self.calibration else None,
            "seconds": self.seconds,
        }

    def take(self, gathered: Mapping[str, Any]) -> None:
        """Put back what :meth:`gathered` returned, or what a checkpoint of version 0.1 holds."""
        kinds = {key: _GATHERED[key] for key in _GATHERED if key in gathered}
        for key, adapter in kinds.items():
            setattr(self, key, adapter.validate_python(gathered[key]))
        self.confusion = gathered.get("confusion", self.confusion)
        if gathered.get("calibration"):
            self.calibration = CalibrationBins(**gathered["calibration"])
        self.seconds = gathered.get("seconds", self.seconds)


_RECORD = TypeAdapter(RunRecord)
_GATHERED: dict[str, TypeAdapter[Any]] = {
    "curve": TypeAdapter(list[CurvePoint]),
    "evaluations": TypeAdapter(list[Evaluation]),
    "evolution": TypeAdapter(list[Picture]),
    "weights": TypeAdapter(list[WeightPoint]),
}


def _checked(content: dict[str, Any], path: Path) -> RunRecord:
    if content.get("schema") != SCHEMA:
        raise RecordError(
            f"{path}: schema {content.get('schema')}, expected {SCHEMA}. "
            "Use the version of lossmaxpool that wrote it, or train again into a new folder."
        )
    content = {key: value for key, value in content.items() if key != "folder"}
    finished = content.get("status") == "finished"
    if not finished:
        # Fields that an unfinished run has not reached may be null.
        content = {key: value for key, value in content.items() if value is not None}
    try:
        # Strict as for JSON: "1" is not accepted as a number, but a list is accepted as a tuple.
        record = _RECORD.validate_json(json.dumps(content), strict=True)
        if finished:
            stated = _stated(content, path)
    except ValidationError as error:
        raise RecordError(f"{path}: {_sentence(error.errors()[0])}") from None
    record.folder = path.parent
    record.config = with_new_names(record.config)
    _check_classes(record, path)
    for k, evaluation in enumerate(record.evaluations):
        _check_mean(evaluation, f"{path}: evaluations[{k}]")
    if record.calibration is not None:
        _check_calibration(record.calibration, f"{path}: calibration")
    if finished:
        _check_results(record, stated, path)
    return record


def _stated(content: Mapping[str, Any], path: Path) -> tuple[float, ...]:
    for key in ("curve", "evaluations", "confusion", "seconds", "miou", "pixel_accuracy", "iou"):
        if key not in content:
            raise RecordError(f"{path}: {_missing(key)}")
    numbers = TypeAdapter(dict[str, _Fraction]).validate_python(
        {key: content[key] for key in ("miou", "pixel_accuracy")}, strict=True
    )
    iou = TypeAdapter(dict[str, list[_Fraction]]).validate_python(
        {"iou": content["iou"]}, strict=True
    )
    return (*numbers.values(), *iou["iou"])


def _check_classes(record: RunRecord, path: Path) -> None:
    number = len(record.classes)
    if not number or len(set(record.classes)) < number:
        raise RecordError(f"{path}: classes {record.classes}, expected distinct names.")
    per_class: dict[str, list[Any]] = {
        key: getattr(record, key) for key in ("colors", "train_pixels", "val_pixels")
    }
    per_class |= {f"evaluations[{k}]: iou": one.iou for k, one in enumerate(record.evaluations)}
    for k, point in enumerate(record.weights):
        for key in ("class_mass", "class_share"):
            per_class[f"weights[{k}]: {key}"] = getattr(point, key)
    if record.confusion or record.finished:
        per_class["confusion"] = record.confusion
    for key, values in per_class.items():
        if len(values) != number:
            raise RecordError(
                f"{path}: {key} has {len(values)} entries, expected one per class ({number})."
            )
    if any(len(row) != number for row in record.confusion):
        raise RecordError(
            f"{path}: confusion, expected {number} rows of {number} integers of at least 0."
        )
    if not sum(record.train_pixels):
        raise RecordError(f"{path}: train_pixels are all 0, expected labeled pixels.")


def _check_mean(evaluation: Evaluation, where: str) -> None:
    present = [value for value in evaluation.iou if not math.isnan(value)]
    mean = math.fsum(present) / len(present) if present else math.nan
    if not _agree([evaluation.miou], [mean]):
        raise RecordError(
            f"{where}: miou {evaluation.miou}, but the mean of its iou is {mean:.6f}. "
            "The record contradicts itself; train the run again."
        )


def _check_calibration(bins: CalibrationBins, where: str) -> None:
    if not len(bins.pixels) == len(bins.confidence) == len(bins.accuracy):
        raise RecordError(f"{where}: expected pixels, confidence and accuracy of the same bins.")
    each = zip(bins.pixels, bins.confidence, bins.accuracy, strict=True)
    gaps = [n * abs(accuracy - confidence) for n, confidence, accuracy in each if n]
    total = sum(bins.pixels)
    counted = math.fsum(gaps) / total if total else math.nan
    if not _agree([bins.ece], [counted]):
        raise RecordError(
            f"{where}: ece {bins.ece}, but its bins give {counted:.6f}. "
            "The record contradicts itself; train the run again."
        )


def _check_results(record: RunRecord, stated: tuple[float, ...], path: Path) -> None:
    # Imported here: the command reads the names of this file before anything needs torch.
    import torch

    from lossmaxpool.metrics import ConfusionMatrix

    final = record.results
    matrix = ConfusionMatrix.from_counts(torch.tensor(record.confusion, dtype=torch.int64))
    if math.isnan(final.miou):
        raise RecordError(
            f"{path}: miou is null, expected a number. No pixel of the validation split is "
            "labeled; check its masks."
        )
    counted = (matrix.miou(), matrix.pixel_accuracy(), *matrix.iou().tolist())
    evaluated = (final.miou, final.pixel_accuracy, *final.iou)
    if not _agree(evaluated, counted):
        raise RecordError(
            f"{path}: miou, pixel_accuracy and iou of the last evaluation are "
            f"{_listed(evaluated)}, but its confusion gives {_listed(counted)}. "
            "The record contradicts itself; train the run again."
        )
    if not _agree(stated, evaluated):
        raise RecordError(
            f"{path}: its results (miou {stated[0]}) are not those of its last evaluation "
            f"(miou {final.miou}, step {final.step}). The record contradicts itself; train again."
        )


def _agree(a: Iterable[float], b: Iterable[float]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(
        (math.isnan(left) and math.isnan(right)) or abs(left - right) <= AGREEMENT
        for left, right in pairs
    )


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


_KINDS = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "[r, g, b]",
    "dict_type": "a JSON object",
    "dataclass_type": "a JSON object",
}


def _sentence(error: ErrorDetails) -> str:
    """Say which field is wrong, such as ``curve[3]: loss is 'low', expected a number``."""
    where = ""
    *parents, last = error["loc"] or ("",)
    for part in parents:
        where += f"[{part}]" if isinstance(part, int) else f"{where and ': '}{part}"
    if error["type"] == "missing":
        return f"{where and where + ': '}{_missing(str(last))}"
    key = f"{where}[{last}]" if isinstance(last, int) else f"{where}{where and ': '}{last}"
    expected = _KINDS.get(error["type"], error["msg"].removeprefix("Input should be "))
    return f"{key} is {_shown(error['input'])}, expected {expected}."


def _missing(key: str) -> str:
    return f"{key!r} is missing. The record is partial; train the run again."


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without_infinity(config: Any) -> Any:
    """A configuration as JSON can hold it: p may be infinite, which is then the text "inf"."""
    if isinstance(config, dict):
        return {key: _without_infinity(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [_without_infinity(value) for value in config]
    return str(config) if isinstance(config, float) and math.isinf(config) else config
