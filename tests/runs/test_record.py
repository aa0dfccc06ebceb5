"""The record of a run: written, read, refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.runs import RecordError, TrainingError
from lossmaxpool.runs.record import RECORD, Evaluation, RunRecord
from tests.report.conftest import CLASSES, make_record, with_calibration, write_run

Edit = Callable[[dict[str, Any]], object]


def edit_calibration(**wrong: Any) -> Edit:
    def edit(record: dict[str, Any]) -> None:
        with_calibration(record)
        record["calibration"] |= wrong

    return edit


def written(folder: Path, content: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / RECORD).write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    record = RunRecord.read(written(tmp_path / "a", make_record("loss-only", seed=3)))
    assert (record.method, record.label, record.seed) == ("loss-only", "LMP (loss only)", 3)
    assert (record.results.step, len(record.curve)) == (200, 200)
    assert record.examples[1].weights == "examples/1.weights.png"
    record.write(tmp_path)
    assert RunRecord.read(tmp_path) == record


def test_what_is_written_is_what_version_0_1_wrote(tmp_path: Path) -> None:
    content = make_record()
    RunRecord.read(written(tmp_path / "a", content)).write(tmp_path)
    found = json.loads((tmp_path / RECORD).read_text())
    assert content.keys() <= found.keys()
    for key in ("curve", "evaluations", "confusion", "iou", "miou", "classes", "colors", "data"):
        assert found[key] == content[key], key


def test_a_configuration_of_version_0_1_gets_the_present_names(tmp_path: Path) -> None:
    content = make_record() | {"config": {"optimisation": {"steps": 3}, "seed": 0}}
    assert RunRecord.read(written(tmp_path / "a", content)).config["optimization"] == {"steps": 3}


def test_a_missing_score_is_nan_here_and_null_in_the_file(tmp_path: Path) -> None:
    content = make_record()
    content["status"] = "interrupted"
    content["evaluations"][0]["iou"][4] = None
    present = [value for value in content["evaluations"][0]["iou"] if value is not None]
    content["evaluations"][0]["miou"] = sum(present) / len(present)
    record = RunRecord.read(written(tmp_path / "a", content))
    assert math.isnan(record.evaluations[0].iou[4])
    record.evaluations.append(Evaluation(201, math.nan, math.nan, [math.nan] * len(CLASSES)))
    record.write(tmp_path)
    assert "NaN" not in (tmp_path / RECORD).read_text()
    assert RunRecord.read(tmp_path) == record
    assert math.isnan(RunRecord.read(tmp_path).miou)


def test_an_infinite_exponent_is_a_word(tmp_path: Path) -> None:
    record = RunRecord.read(written(tmp_path / "a", make_record()))
    record.config["loss"] = {"p": math.inf}
    record.write(tmp_path)
    assert RunRecord.read(tmp_path).config["loss"]["p"] == "inf"


def test_what_was_gathered_travels_as_plain_values(tmp_path: Path) -> None:
    content = make_record()
    with_calibration(content)
    record = RunRecord.read(written(tmp_path / "a", content))
    gathered = json.loads(json.dumps(record.gathered()))
    other = RunRecord.read(written(tmp_path / "b", make_record("base", seed=1)))
    other.take(gathered)
    assert (other.curve, other.evaluations) == (record.curve, record.evaluations)
    assert (other.confusion, other.seconds) == (record.confusion, record.seconds)
    assert other.calibration == record.calibration
    assert math.isnan(other.calibration.accuracy[0])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: r.pop("iou"), "'iou' is missing. The record is partial"),
        (lambda r: r.pop("classes"), "'classes' is missing"),
        (lambda r: r["data"].pop("val_split"), "data: 'val_split' is missing"),
        (lambda r: r.update(schema=2), "schema 2, expected 1"),
        (lambda r: r.update(status="done"), "status is 'done', expected 'finished', 'interrupted'"),
        (lambda r: r.update(status="running"), "status is 'running', expected 'finished'"),
        (lambda r: r.update(seed="0"), "seed is '0', expected an integer"),
        (lambda r: r.update(label=None), "label is None, expected text"),
        (lambda r: r.update(data=[]), r"data is \[\], expected a JSON object"),
        (lambda r: r.update(classes=["a", "a"]), "expected distinct names"),
        (lambda r: r.update(classes=[]), "expected distinct names"),
        (lambda r: r.update(classes=[1]), r"classes\[0\] is 1, expected text"),
        (lambda r: r.update(colors=r["colors"][1:]), r"colors has 8 entries.*per class \(9\)"),
        (lambda r: r["colors"].__setitem__(0, [0, 0, 256]), r"expected \[r, g, b\]"),
        (lambda r: r["train_pixels"].__setitem__(0, -1), "expected integers of at least 0"),
        (lambda r: r.update(train_pixels=[0] * 9), "expected labeled pixels"),
        (lambda r: r.update(iou=[100 * v for v in r["iou"]]), r"fraction in \[0, 1\]"),
        (lambda r: r.update(miou=48.1), r"miou is 48.1, expected a fraction in \[0, 1\]"),
        (lambda r: r.update(miou=r["miou"] + 0.01), "not those of its last evaluation"),
        (lambda r: r["evaluations"][-1].update(miou=0.9), "the mean of its iou is"),
        (lambda r: r.update(evaluations=[]), "no evaluation, expected one of a finished run"),
        (lambda r: r["confusion"][0].__setitem__(1, 10**7), "but its confusion gives"),
        (lambda r: r["confusion"].pop(), "confusion has 8 entries"),
        (lambda r: r["confusion"][0].pop(), "expected 9 rows of 9 integers"),
        (lambda r: r.update(curve={}), "curve is {}, expected a list"),
        (edit_calibration(ece=0.5), "ece 0.5, but its bins give"),
        (edit_calibration(pixels=[1]), "pixels, confidence and accuracy of the same bins"),
        (edit_calibration(classwise_ece=2.0), r"fraction in \[0, 1\]"),
        (lambda r: r["curve"][3].update(loss="low"), r"curve\[3\]: loss is 'low'"),
        (lambda r: r["examples"][0].update(image="/etc/hostname"), "inside the run folder"),
        (lambda r: r["examples"][0].update(truth="../x.png"), "inside the run folder"),
    ],
)
def test_a_bad_record_is_refused_by_name(tmp_path: Path, edit: Edit, message: str) -> None:
    content = make_record()
    edit(content)
    with pytest.raises(RecordError, match=message) as raised:
        RunRecord.read(written(tmp_path / "a", content))
    assert str(tmp_path / "a") in str(raised.value)


def test_an_unfinished_run_may_lack_its_results(tmp_path: Path) -> None:
    content = make_record() | {"status": "failed", "evaluations": None, "confusion": []}
    for key in ("iou", "miou", "pixel_accuracy", "examples"):
        del content[key]
    record = RunRecord.read(written(tmp_path / "a", content))
    assert (record.finished, record.final, record.examples) == (False, None, [])
    assert math.isnan(record.miou)


def test_nothing_evaluated_is_not_a_score(tmp_path: Path) -> None:
    record = make_record()
    record["confusion"] = [[0] * 9 for _ in range(9)]
    nothing = {"iou": [None] * 9, "miou": None, "pixel_accuracy": None}
    record.update(nothing)
    record["evaluations"] = [{"step": 1, **nothing}]
    with pytest.raises(RecordError, match="No pixel of the validation split is labeled"):
        RunRecord.read(write_run(tmp_path, record))


def test_what_is_missing_or_no_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"record\.json: not found"):
        RunRecord.read(tmp_path / "nowhere")
    (tmp_path / "compare.yaml").write_text("")
    with pytest.raises(RecordError, match=r"compare\.yaml/record\.json: not found"):
        RunRecord.read(tmp_path / "compare.yaml")
    for text, message in (("{", "not valid JSON"), ("[]", "JSON object"), ("\x00", "not valid")):
        (tmp_path / RECORD).write_text(text, encoding="utf-8")
        with pytest.raises(TrainingError, match=message):
            RunRecord.read(tmp_path)
