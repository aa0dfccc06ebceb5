from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from lossmaxpool.report import format_table, markdown_table
from lossmaxpool.report.comparison import read_runs
from lossmaxpool.report.statistics import summarize
from lossmaxpool.report.tables import results_csv, settled_classes, summary_content
from lossmaxpool.runs.record import RunRecord
from tests.tolerances import STORED

from .conftest import CLASSES, make_record, many_classes, with_calibration, with_classes

MakeRuns = Callable[..., list[Path]]


def test_the_table_lists_the_totals_and_then_classes_by_share(make_runs: MakeRuns) -> None:
    lines = format_table(make_runs("base", "loss-only")).splitlines()
    names = [line.split("  ")[0] for line in lines[5:14]]
    assert names == CLASSES  # the fixture has them by share
    assert lines[0].split() == ["class", "share", "%", "BASE", "LMP", "(loss", "only)", "gain"]
    assert lines[2].startswith("mIoU ")
    assert lines[3].startswith("pixel accuracy ")


def test_columns_line_up(make_runs: MakeRuns) -> None:
    lines = format_table(make_runs("base", "loss-only", "bootstrap")).splitlines()[5:14]
    assert len({line.index("±") for line in lines}) == 1
    assert len({line.rindex("±") for line in lines}) == 1


def test_the_numbers_are_those_of_the_records(make_runs: MakeRuns) -> None:
    def edit(record: dict) -> None:  # type: ignore[type-arg]
        offsets = {("base", 0): 4, ("base", 1): 6, ("loss-only", 0): 5, ("loss-only", 1): 9}
        hits = 10 * offsets[record["method"], record["seed"]]
        # A class of 100 pixels of which none is predicted wrongly: its IoU is its recall.
        counts = [[hits, 100 - hits], [0, 900]]
        iou = [hits / 100, 900 / (1000 - hits)]
        scores = {"iou": iou, "miou": sum(iou) / 2, "pixel_accuracy": (hits + 900) / 1000}
        record.update(classes=["few", "many"], colors=[[0, 0, 9], [0, 9, 0]], confusion=counts)
        record.update(train_pixels=[20, 980], val_pixels=[100, 900], **scores)
        record["evaluations"] = [{"step": 200, **scores}]

    runs = make_runs("base", "loss-only", edit=edit)
    text = format_table(runs)
    # few: 40 and 60 against 50 and 90: gains 10 and 30, t(1) = 12.706, s = 14.142.
    row = next(line for line in text.splitlines() if line.startswith("few"))
    assert row.split() == ["few", "2.0", "50.0", "±", "14.1", "70.0", "±", "28.3", "+20.0"]
    gain = summary_content(summarize(read_runs(runs)))["methods"][1]["gains"]["iou"][0]
    assert gain["mean"] == pytest.approx(0.2)
    assert gain["by_seed"] == pytest.approx({"0": 0.1, "1": 0.3})
    assert (gain["low"], gain["high"]) == pytest.approx((0.2 - 1.27062, 0.2 + 1.27062), abs=STORED)


def test_the_calibration_error_is_shown_where_records_have_it(make_runs: MakeRuns) -> None:
    runs = make_runs("base", "loss-only", edit=with_calibration)
    text = format_table(runs)
    row = next(line for line in text.splitlines() if line.startswith("ECE (less is better)"))
    errors = [RunRecord.read(run).calibration for run in runs]
    own = fmean(bins.ece for bins in errors[2:] if bins)
    assert f"+{100 * own:.1f}" in row
    assert "Calibration error: " in text
    summary = summary_content(summarize(read_runs(runs)))
    assert summary["methods"][1]["ece"]["mean"] == pytest.approx(own, abs=STORED)
    # A run of an earlier version has none: its seed is left out of the pairs.
    record = json.loads((runs[0] / "record.json").read_text())
    del record["calibration"]
    (runs[0] / "record.json").write_text(json.dumps(record))
    gains = summary_content(summarize(read_runs(runs)))["methods"][1]["gains"]
    assert (gains["ece"]["n"], gains["miou"]["n"]) == (1, 2)


def test_one_seed_shows_no_spread(make_runs: MakeRuns) -> None:
    text = format_table(make_runs("base", "loss-only", seeds=(0,)))
    assert "±" not in text
    assert "*" not in text
    assert "not settled" in text


def test_without_a_baseline_there_are_no_gains(make_runs: MakeRuns) -> None:
    text = format_table(make_runs("loss-only", "bootstrap"))
    assert "gain" not in text.splitlines()[0]
    assert "No run of the baseline" in text


def test_markdown_keeps_its_columns_whatever_a_class_is_called(make_runs: MakeRuns) -> None:
    def edit(record: dict) -> None:  # type: ignore[type-arg]
        record["classes"][0] = "a|b*c"

    lines = markdown_table(make_runs("base", "loss-only", edit=edit)).splitlines()
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert lines[4].startswith("| a\\|b\\*c |")
    assert len(lines) == 2 + len(CLASSES) + 2


def test_unchanged_classes_are_counted_in_the_terminal(make_runs: MakeRuns) -> None:
    text = format_table(make_runs("base", "loss-only", edit=many_classes))
    summary = summarize(read_runs(make_runs("bootstrap", "inverse-median", edit=many_classes)))
    assert summary.folded
    assert "class 1 " in text
    assert "class 45 " not in text
    assert re.search(r"and \d+ classes on which all methods agree", text)


def test_every_score_of_every_run_is_in_the_csv(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("base", "loss-only")))
    rows = list(csv.DictReader(io.StringIO(results_csv(summary))))
    found = {(r["method"], r["seed"], r["class"], r["score"]): r["value"] for r in rows}
    for method in ("base", "loss-only"):
        for seed in (0, 1):
            record = make_record(method, seed)
            of_run = {
                key[2:]: value for key, value in found.items() if key[:2] == (method, str(seed))
            }
            assert float(of_run["", "mIoU"]) == pytest.approx(record["miou"], abs=STORED)
            for c, name in enumerate(CLASSES):
                assert float(of_run[name, "IoU"]) == pytest.approx(record["iou"][c], abs=STORED)
                f1 = 2 * record["iou"][c] / (1 + record["iou"][c])
                assert float(of_run[name, "F1"]) == pytest.approx(f1, abs=STORED)
                row = record["confusion"][c]
                assert float(of_run[name, "recall"]) == pytest.approx(row[c] / sum(row), abs=STORED)


def test_further_scores_of_every_class_are_in_the_summary(make_runs: MakeRuns) -> None:
    content = summary_content(summarize(read_runs(make_runs("base", seeds=(0,)))))
    (method,) = content["methods"]
    counts = np.array(make_record("base", 0)["confusion"])
    hits = counts.diagonal()
    truth = {
        "f1": 2 * hits / (counts.sum(0) + counts.sum(1)),
        "precision": hits / counts.sum(0),
        "recall": hits / counts.sum(1),
    }
    for name, values in truth.items():
        assert [s["mean"] for s in method[name]] == pytest.approx(values.tolist(), abs=STORED)


def test_of_many_settled_classes_the_table_names_those_that_changed_most(
    make_runs: MakeRuns,
) -> None:
    def edit(record: dict[str, Any]) -> None:
        better = record["method"] != "base"
        recall = [0.5 + better * 0.01 * (c % 19) + 0.001 * record["seed"] for c in range(20)]
        with_classes(
            record, [f"class {c}" for c in range(20)], [100_000] * 20, [10**5] * 20, recall
        )

    summary = summarize(read_runs(make_runs("base", "loss-only", edit=edit)))
    (pair,) = summary.pairs
    named = settled_classes(summary, pair)
    assert named.startswith("class 18 +")
    assert re.search(r" and \d+ more$", named)
    assert named.count("class") == 8
