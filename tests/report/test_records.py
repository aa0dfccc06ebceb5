from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.report import RecordError, format_table, markdown_table, write_report
from lossmaxpool.report.records import read_run, read_runs

from .conftest import CLASSES, make_record, write_run

MakeRuns = Callable[..., list[Path]]
Edit = Callable[[dict[str, Any]], object]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record("loss-only", seed=3)
    run = read_run(write_run(tmp_path, record))
    assert (run.method, run.label, run.seed) == ("loss-only", "LMP (loss only)", 3)
    assert run.classes == tuple(CLASSES)
    assert list(run.results.iou) == record["iou"]
    assert run.results.step == 200
    assert len(run.curve) == 200
    assert run.examples[1].weights == run.folder / "examples/1.weights.png"


def test_the_baseline_comes_first_and_seeds_are_in_order(make_runs: MakeRuns) -> None:
    folders = make_runs("loss-only", "bootstrap", "base", seeds=(2, 0))
    methods = read_runs(folders).methods
    assert [method.id for method in methods] == ["base", "loss-only", "bootstrap"]
    assert [run.seed for run in methods[0].runs] == [0, 2]


def test_null_is_a_missing_value(tmp_path: Path) -> None:
    record = make_record()
    without_class(record, 4)
    assert math.isnan(read_run(write_run(tmp_path, record)).results.iou[4])


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
        (lambda r: r.pop("iou"), "'iou' is missing. The record is partial"),
        (lambda r: r.pop("classes"), "'classes' is missing"),
        (lambda r: r["data"].pop("val_split"), "data: 'val_split' is missing"),
        (lambda r: r.update(schema=2), "schema 2, expected 1"),
        (lambda r: r.update(status="done"), "status 'done', expected one of finished"),
        (lambda r: r.update(seed="0"), "seed is '0', expected an integer"),
        (lambda r: r.update(label=None), "label is None, expected text"),
        (lambda r: r.update(data=[]), r"data: \[\], expected a JSON object"),
        (lambda r: r.update(classes=["a", "a"]), "expected distinct names"),
        (lambda r: r.update(classes=[]), "expected distinct names"),
        (lambda r: r.update(classes=[1]), "expected a list of texts"),
        (lambda r: r.update(colors=r["colors"][1:]), r"colors has 8 entries.*per class \(9\)"),
        (lambda r: r["colors"].__setitem__(0, [0, 0, 256]), r"expected \[r, g, b\]"),
        (lambda r: r["train_pixels"].__setitem__(0, -1), "expected integers of at least 0"),
        (lambda r: r.update(train_pixels=[0] * 9), "expected labelled pixels"),
        (lambda r: r.update(iou=[100 * v for v in r["iou"]]), r"fraction in \[0, 1\]"),
        (lambda r: r.update(miou=48.1), r"miou is 48.1, expected a fraction in \[0, 1\]"),
        (lambda r: r.update(miou=r["miou"] + 0.01), "not those of its last evaluation"),
        (lambda r: r["evaluations"][-1].update(miou=0.9), "the mean of its iou is"),
        (lambda r: r.update(evaluations=[]), "no evaluation, expected one of a finished run"),
        (lambda r: r["confusion"][0].__setitem__(1, 10**7), "but its confusion gives"),
        (lambda r: r["confusion"].pop(), "confusion has 8 entries"),
        (lambda r: r["confusion"][0].pop(), "expected 9 rows of 9 integers"),
        (lambda r: r.update(curve={}), "curve is {}, expected a list"),
        (lambda r: r["curve"][3].update(loss="low"), r"curve\[3\]: loss is 'low'"),
        (lambda r: r["examples"][0].update(image="/etc/hostname"), "inside the run folder"),
        (lambda r: r["examples"][0].update(truth="../x.png"), "inside the run folder"),
    ],
)
def test_a_bad_record_is_refused_by_name(tmp_path: Path, edit: Edit, message: str) -> None:
    record = make_record()
    folder = write_run(tmp_path, record)
    edit(record)
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(RecordError, match=message) as raised:
        read_run(folder)
    assert str(folder) in str(raised.value)


def test_nothing_evaluated_is_not_a_score(tmp_path: Path) -> None:
    record = make_record()
    record["confusion"] = [[0] * 9 for _ in range(9)]
    nothing = {"iou": [None] * 9, "miou": None, "pixel_accuracy": None}
    record.update(nothing)
    record["evaluations"] = [{"step": 1, **nothing}]
    with pytest.raises(RecordError, match="No pixel of the validation split is labelled"):
        read_run(write_run(tmp_path, record))


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"record\.json: not found"):
        read_run(tmp_path / "nowhere")


def test_a_file_beside_the_run_folders_is_named(tmp_path: Path) -> None:
    (tmp_path / "compare.yaml").write_text("")
    with pytest.raises(RecordError, match=r"compare\.yaml/record\.json: not found"):
        read_run(tmp_path / "compare.yaml")


@pytest.mark.parametrize(("text", "message"), [("{", "not valid JSON"), ("[]", "JSON object")])
def test_what_is_not_a_record_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "record.json").write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=message):
        read_run(tmp_path)


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
