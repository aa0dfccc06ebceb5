from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.report import RecordError, format_table, markdown_table, write_report
from lossmaxpool.report.comparison import read_runs
from lossmaxpool.runs.record import RunRecord

from .conftest import CLASSES, make_record, write_run

MakeRuns = Callable[..., list[Path]]
Edit = Callable[[dict[str, Any]], object]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record("loss-only", seed=3)
    run = RunRecord.read(write_run(tmp_path, record))
    assert (run.method, run.label, run.seed) == ("loss-only", "LMP (loss only)", 3)
    assert run.classes == CLASSES
    assert list(run.results.iou) == record["iou"]
    assert run.results.step == 200
    assert len(run.curve) == 200
    assert run.examples[1].weights == "examples/1.weights.png"


def test_the_baseline_comes_first_and_seeds_are_in_order(make_runs: MakeRuns) -> None:
    folders = make_runs("loss-only", "bootstrap", "base", seeds=(2, 0))
    methods = read_runs(folders).methods
    assert [method.id for method in methods] == ["base", "loss-only", "bootstrap"]
    assert [run.seed for run in methods[0].runs] == [0, 2]


def without_class(record: dict[str, Any], c: int) -> None:
    """As if class `c` were in no validation image and never predicted."""
    for row in record["confusion"]:
        row[c] = 0
    record["confusion"][c] = [0] * len(CLASSES)
    record["val_pixels"][c] = 0
    total = sum(map(sum, record["confusion"]))
    hits = sum(row[k] for k, row in enumerate(record["confusion"]))
    for one in record["evaluations"]:
        one["iou"] = [
            row[k] / (sum(row) + sum(other[k] for other in record["confusion"]) - row[k])
            if sum(row)
            else None
            for k, row in enumerate(record["confusion"])
        ]
        present = [value for value in one["iou"] if value is not None]
        one["miou"] = sum(present) / len(present)
        one["pixel_accuracy"] = hits / total
    record.update({k: record["evaluations"][-1][k] for k in ("iou", "miou", "pixel_accuracy")})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: r.update(classes=[*r["classes"][1:], "x"]), "classes .* but .* has"),
        (lambda r: r.update(train_pixels=[1, *r["train_pixels"][1:]]), "train_pixels"),
        (lambda r: r["data"].update(val_split="sequence-val"), "same data with the same classes"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path, edit: Edit, message: str) -> None:
    other = make_record("loss-only")
    edit(other)
    folders = [write_run(tmp_path, make_record()), write_run(tmp_path, other)]
    with pytest.raises(RecordError, match=message):
        read_runs(folders)


def test_the_same_seed_twice_is_refused(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / part, make_record()) for part in "ab"]
    with pytest.raises(RecordError, match="both 'base' with seed 0"):
        read_runs(folders)


def test_one_method_under_two_names_is_refused(tmp_path: Path) -> None:
    other = make_record("base", seed=1) | {"label": "BASE with p = 2"}
    folders = [write_run(tmp_path, make_record()), write_run(tmp_path, other)]
    with pytest.raises(RecordError, match="Report variants of one method separately"):
        read_runs(folders)


def test_two_methods_under_one_name_are_refused(tmp_path: Path) -> None:
    other = make_record("loss-only") | {"label": "BASE"}
    folders = [write_run(tmp_path, make_record()), write_run(tmp_path, other)]
    with pytest.raises(RecordError, match="both called 'BASE'"):
        read_runs(folders)


@pytest.mark.parametrize(
    "make", [format_table, markdown_table, lambda runs: write_report(runs, Path("unused"))]
)
def test_no_runs_and_no_finished_run_are_refused(
    make: Callable[[list[Path]], object], make_runs: MakeRuns
) -> None:
    with pytest.raises(RecordError, match="No run folders were given"):
        make([])
    folders = make_runs("base", edit=lambda r: r.update(status="failed"))
    with pytest.raises(RecordError, match=r"No run is finished \(.*failed"):
        make(folders)
