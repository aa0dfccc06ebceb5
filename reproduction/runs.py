"""Which runs may stand in which cell of a table.

Run folders are found below a folder and sorted into columns: runs of one column share the data, the
view of the images and every setting except method, p, m and seed, which are the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from lossmaxpool.report.comparison import MethodSetting, method_setting
from lossmaxpool.report.statistics import Score, score
from lossmaxpool.report.wording import count
from lossmaxpool.runs import RecordError
from lossmaxpool.runs.config import decisive
from lossmaxpool.runs.record import Evaluation, RunRecord
from reproduction.published import Task

RECORD = "record.json"
CONFIG = "config.yaml"


@dataclass(frozen=True)
class FoundRuns:
    """The runs below a folder.

    Args:
        runs: The finished ones.
        unfinished: One sentence per run that has not come to its end.
        damaged: One sentence per record that cannot be used.
    """

    runs: tuple[RunRecord, ...] = ()
    unfinished: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def find_runs(root: Path) -> FoundRuns:
    """Reads every run folder in a folder, at any depth; a run folder itself is one.

    Args:
        root: Usually what ``lossmaxpool compare`` or a sweep wrote.

    Returns:
        The finished runs in the order of their paths; the others in words. One damaged record
        leaves the other runs usable.

    Raises:
        RecordError: There is no such folder, or no run in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise RecordError(f"{root}: no such folder. Give one that holds run folders.")
    folders = sorted({path.parent for name in (RECORD, CONFIG) for path in root.rglob(name)})
    if not folders:
        raise RecordError(
            f"{root}: no run folder in it (a folder with {RECORD}). "
            "Give the folder that `lossmaxpool train` or `compare` wrote."
        )
    runs, unfinished, damaged = [], [], []
    for folder in folders:
        if not (folder / RECORD).exists():
            unfinished.append(f"{folder}: it has {CONFIG} and no {RECORD}; it has not begun.")
            continue
        try:
            run = RunRecord.read(folder)
        except RecordError as error:
            damaged.append(str(error))
            continue
        if run.finished:
            runs.append(run)
        else:
            reached = f"at step {run.final.step}" if run.final else "before its first evaluation"
            unfinished.append(f"{folder}: {run.status} {reached}; resume it.")
    return FoundRuns(tuple(runs), tuple(unfinished), tuple(damaged))


# The view of training's own evaluations, and of the paper on Pascal VOC.
WHOLE = "whole images"
# The paper's: five tiles, 200 columns of overlap. Other numbers are named in the view.
_TILES, _OVERLAP = 5, 200


def view_of(inference: Mapping[str, Any]) -> str:
    """The words for the options of an inference.

    Args:
        inference: tiling, tiles, overlap, flip, scales and temperature; what is absent is at its
            default.

    Returns:
        Words that differ where the scores would.

    Example:
        >>> view_of({"tiling": "optimized", "overlap": 100, "flip": True})
        'optimized tiling, overlap 100, flip'
    """
    # Version 0.1 wrote British spelling.
    tiling = str(inference.get("tiling", "full")).replace("optimised", "optimized")
    words = [WHOLE if tiling == "full" else f"{tiling} tiling"]
    if tiling != "full" and inference.get("tiles", _TILES) != _TILES:
        words.append(f"{inference['tiles']} tiles")
    if tiling == "optimized" and inference.get("overlap", _OVERLAP) != _OVERLAP:
        words.append(f"overlap {inference['overlap']}")
    if inference.get("flip"):
        words.append("flip")
    scales = list(inference.get("scales", [1.0]))
    if scales != [1.0]:
        words.append("scales " + ", ".join(f"{scale:g}" for scale in scales))
    # The class of a single view does not depend on it.
    if inference.get("temperature", 1) != 1 and (inference.get("flip") or len(scales) > 1):
        words.append("calibrated")
    return ", ".join(words)


@dataclass(frozen=True)
class CheckpointWindow:
    """The last checkpoints of a run.

    Rota Bulò et al. 2017 average 150k, 160k and 165k of 165k iterations on Cityscapes and 180k,
    190k and 200k of 200k on Pascal VOC: checkpoints in the last tenth of a training.

    Args:
        share: Evaluations in the last ``share`` of the steps count, in [0, 1]; 0: only the last.
        steps: The steps to count instead, where not empty.

    Raises:
        ValueError: A share outside [0, 1].
    """

    share: float = 0.1
    steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"window is {self.share}: expected the share of the training whose evaluations "
                "count, in [0, 1], such as 0.1"
            )

    def of(self, evaluations: Sequence[Evaluation]) -> tuple[Evaluation, ...]:
        """The evaluations that count; none where ``steps`` asks for one that is not there."""
        if self.steps:
            at = {evaluation.step: evaluation for evaluation in evaluations}
            return tuple(at[step] for step in self.steps) if {*self.steps} <= at.keys() else ()
        end = max((evaluation.step for evaluation in evaluations), default=0)
        # A step on the edge counts, whatever the rounding of the product.
        first = (1 - self.share) * end - 1e-9 * end
        return tuple(evaluation for evaluation in evaluations if evaluation.step >= first)


@dataclass(frozen=True)
class MeasuredScore:
    """A mean with its sample standard deviation, and over what that is.

    Args:
        score: Over seeds where there are several, else over the checkpoints of the one run.
        seeds: Runs.
        checkpoints: Most checkpoints of one of them.
    """

    score: Score
    seeds: int
    checkpoints: int


def measure(by_run: Sequence[Sequence[float]]) -> MeasuredScore:
    """Mean ± sample standard deviation (ddof = 1) as the paper has it.

    One run: over its last checkpoints. Several: each run's mean over them is one value, and the
    deviation is that over runs.

    Args:
        by_run: Per run the scores of its last checkpoints, at least one.

    Example:
        >>> measure([[73.12, 73.16, 73.10]]).score.mean
        73.12666666666667

    References:
        Rota Bulò et al. 2017, Table 1.
    """
    single = len(by_run) == 1
    values = by_run[0] if single else [fmean(scores) for scores in by_run]
    return MeasuredScore(score(values), len(by_run), max(map(len, by_run)))


FOLDER = "evaluations"
# Chosen on the validation images, so that its score there is biased upwards.
_BEST = "best.ckpt"


def read_evaluations(run: RunRecord) -> Iterator[tuple[str, str, Evaluation]]:
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


def _read(path: Path, run: RunRecord) -> tuple[str, str, Evaluation]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path}: not valid JSON ({error}). Evaluate again.") from error
    try:
        data, classes = content["data"], content["classes"]
        if classes != run.classes or data["name"] != run.data.name:
            raise RecordError(
                f"{path}: {data['name']} with {len(classes)} classes, but its run is on "
                f"{run.data.name} with {len(run.classes)}. Move it to the run that it is of."
            )
        if Path(content["checkpoint"]).name == _BEST:
            raise RecordError(
                f"{path}: it evaluates {_BEST}, which was chosen on the validation images. "
                f"Evaluate {run.folder / 'checkpoints' / 'last.ckpt'}, or those of single steps "
                "that --reporting.keep_checkpoints leaves."
            )
        scores = {key: content[key] for key in ("step", "miou", "pixel_accuracy", "iou")}
        split, view = (
            data["split"],
            view_of(content["inference"] | {"temperature": content.get("temperature", 1)}),
        )
        evaluation = Evaluation(**scores)
    except KeyError as error:
        raise RecordError(f"{path}: {error} is missing. Evaluate again.") from None
    except (TypeError, AttributeError, ValidationError) as error:
        raise RecordError(f"{path}: not an evaluation ({error}). Evaluate again.") from None
    if len(evaluation.iou) != len(classes):
        raise RecordError(
            f"{path}: iou has {len(evaluation.iou)} entries, expected one per class "
            f"({len(classes)}). Evaluate again."
        )
    return split, view, evaluation


# Of the options that decide a result, those that the rows and the seeds of a table vary.
_VARIED = ("method", "seed", "loss.p", "loss.min_support")


@dataclass(frozen=True)
class Scored:
    """One run and its last evaluations under the view of a column."""

    run: RunRecord
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True)
class Column:
    """Runs that differ in method, p, m and seed alone.

    Args:
        task: Data set, split and view.
        settings: Everything else that decides a result, by dotted key.
        letter: Tells columns of one task apart; empty where there is one.
        cells: The runs of each setting, ordered by seed.
    """

    task: Task
    settings: Mapping[str, str]
    letter: str
    cells: Mapping[MethodSetting, tuple[Scored, ...]]

    @property
    def name(self) -> str:
        """The heading of the column."""
        letter = f" [{self.letter}]" if self.letter else ""
        return f"{self.task.data} {self.task.split}, {self.task.view}{letter}"

    @property
    def first(self) -> RunRecord:
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

    def find(self, setting: MethodSetting) -> tuple[Scored, ...]:
        """The runs of a setting; none where nothing was run."""
        return self.cells.get(setting, ())


def columns(runs: Sequence[RunRecord], window: CheckpointWindow) -> tuple[list[Column], list[str]]:
    """Sorts runs into columns.

    Args:
        runs: Finished runs, of anything.
        window: Which evaluations of a run count.

    Returns:
        The columns, and one sentence per run or evaluation that found no place.

    Raises:
        RecordError: The same setting with the same seed stands twice in a column.
    """
    gathered: dict[tuple[Task, str], dict[MethodSetting, dict[int, Scored]]] = {}
    notes = []
    for run in runs:
        try:
            setting, by_task = method_setting(run), _by_task(run)
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
            cell = gathered.setdefault((task, settings), {}).setdefault(setting, {})
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


def _by_task(run: RunRecord) -> dict[Task, list[Evaluation]]:
    by_task = {Task(run.data_name, run.data.val_split, WHOLE): list(run.evaluations)}
    for split, view, evaluation in read_evaluations(run):
        known = by_task.setdefault(Task(run.data_name, split, view), [])
        # Training has evaluated whole images at this step itself.
        if evaluation.step not in {other.step for other in known}:
            known.append(evaluation)
    return {task: sorted(each, key=lambda e: e.step) for task, each in by_task.items()}


def _settings(run: RunRecord) -> dict[str, str]:
    """Everything that must agree within a column, flat and in order."""
    flat = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in decisive(run.config).items()
        if key not in _VARIED
    }
    flat["data.train_split"] = run.data.train_split
    flat["classes"] = ", ".join(run.classes)
    flat["train_pixels"] = ", ".join(map(str, run.train_pixels))
    flat["val_pixels"] = ", ".join(map(str, run.val_pixels))
    return dict(sorted(flat.items()))


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:39]}…"


def _check_new(twin: Scored | None, run: RunRecord) -> None:
    if twin is not None:
        raise RecordError(
            f"{twin.run.folder} and {run.folder} are both {run.method!r} with seed {run.seed} and "
            "the same settings. Keep one of them there: a seed counted twice makes the spread look "
            "smaller than it is."
        )


# The paper's pair in Figures 3 and 4, then the same two without the sampler.
PAIRS = (("base+", "lmp"), ("base", "loss-only"))
_PAPER = (1.3, 0.25)


@dataclass(frozen=True)
class MethodPair:
    """A baseline and a method with common seeds."""

    column: Column
    baseline: tuple[Scored, ...]
    method: tuple[Scored, ...]

    @property
    def labels(self) -> tuple[str, str]:
        """The names of baseline and method."""
        return self.baseline[0].run.label, self.method[0].run.label


def find_pair(column: Column) -> MethodPair | str:
    """The first of ``PAIRS`` that was run with a common seed; otherwise what is missing.

    Args:
        column: Runs that may be compared. Of several settings of p and m, the paper's (p = 1.3,
            m = 25 %) is taken.
    """
    reasons = []
    for baseline, method in PAIRS:
        settings = [setting for setting in column.cells if setting.method == method]
        if not settings or not column.find(MethodSetting(baseline)):
            missing = [] if column.find(MethodSetting(baseline)) else [baseline]
            missing += [] if settings else [method]
            reasons.append(f"{baseline} and {method}: no finished run of {' or '.join(missing)}")
            continue
        setting = settings[0] if len(settings) == 1 else MethodSetting(method, *_PAPER)
        if setting not in settings:
            reasons.append(
                f"{baseline} and {method}: {count(len(settings), 'setting')} of {method}, none "
                "with p = 1.3 and m = 25 %"
            )
            continue
        ours, theirs = column.find(setting), column.find(MethodSetting(baseline))
        common = {s.run.seed for s in ours} & {s.run.seed for s in theirs}
        if common:
            kept = [tuple(s for s in each if s.run.seed in common) for each in (theirs, ours)]
            return MethodPair(column, *kept)
        reasons.append(f"{baseline} and {method}: no seed in common")
    return f"{column.name}: {'; '.join(reasons)}."
