from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lossmaxpool.report import (
    RecordError,
    format_table,
    markdown_pairs,
    markdown_table,
    write_report,
)
from lossmaxpool.report.comparison import read_runs
from lossmaxpool.report.statistics import summarize

MakeRuns = Callable[..., list[Path]]
THREE = ("base", "loss-only", "inverse-median")


def test_each_two_methods_meet_once_and_the_better_one_is_over_the_other(
    make_runs: MakeRuns,
) -> None:
    summary = summarize(read_runs(make_runs(*THREE)))
    found = summary.pairs
    assert len({frozenset((p.method.method.id, p.other.method.id)) for p in found}) == 3
    assert all(pair.method.lead.mean >= pair.other.lead.mean for pair in found)


def test_the_interval_is_that_of_the_differences_by_seed(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("loss-only", "inverse-median", seeds=(0, 1, 2))))
    (pair,) = summary.pairs
    one, other = (
        {run.seed: run.results.miou for run in m.method.runs} for m in (pair.method, pair.other)
    )
    assert pair.gains.lead.by_seed == pytest.approx({s: one[s] - other[s] for s in one})
    assert pair.gains.lead.low < pair.gains.lead.mean < pair.gains.lead.high


def test_methods_without_a_common_seed_are_no_pair(make_runs: MakeRuns) -> None:
    folders = make_runs("base", seeds=(0,)) + make_runs("loss-only", seeds=(1,))
    assert summarize(read_runs(folders)).pairs == []


def test_markdown_has_one_method_over_each_other(make_runs: MakeRuns) -> None:
    head, rule, *rows = markdown_pairs(make_runs(*THREE), "loss-only").splitlines()
    assert head.startswith("|  | mIoU gain | 95 % interval |")
    assert rule.endswith("| :-- |"), "names of classes stand to the left"
    assert [row.split(" | ")[0] for row in rows] == [
        "| LMP (loss only) over BASE",
        "| LMP (loss only) over Inverse median",
    ]


def test_a_method_that_was_not_run_is_named(make_runs: MakeRuns) -> None:
    with pytest.raises(RecordError, match="no run of 'lmp' is finished, expected one of: base"):
        markdown_pairs(make_runs("base"), "lmp")


def test_class_table_and_pairs_share_the_numbers_of_many_methods(make_runs: MakeRuns) -> None:
    assert "gain" in markdown_table(make_runs("base", "loss-only", seeds=(5,)))
    runs = make_runs(*THREE)
    assert "gain" not in markdown_table(runs)
    assert "LMP (loss only) over Inverse median" in format_table(runs)


def test_the_page_and_the_summary_hold_the_pairs(make_runs: MakeRuns, tmp_path: Path) -> None:
    page = write_report(make_runs(*THREE), tmp_path / "out").read_text()
    assert "Every method against every other" in page
    assert "LMP (loss only) over Inverse median" in page
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert ["loss-only", "inverse-median"] in [[p["method"], p["over"]] for p in content["pairs"]]


def test_of_several_rivals_the_page_opens_with_one_finding_each(
    make_runs: MakeRuns, tmp_path: Path
) -> None:
    several = write_report(make_runs(*THREE), tmp_path / "several").read_text()
    assert several.count('<details class="findings"') == several.count("<summary><b>") == 2
    single = write_report(make_runs("base", "bootstrap", seeds=(7,)), tmp_path / "one").read_text()
    assert '<details class="findings"' not in single


def test_without_base_the_other_methods_are_still_compared(
    make_runs: MakeRuns, tmp_path: Path
) -> None:
    runs = make_runs("loss-only", "inverse-median")
    assert "LMP (loss only) over Inverse median" in format_table(runs)
    assert "LMP (loss only) over" in write_report(runs, tmp_path / "out").read_text()


def test_base_and_one_method_are_told_once(make_runs: MakeRuns, tmp_path: Path) -> None:
    runs = make_runs("base", "loss-only")
    assert " over BASE" not in format_table(runs)
    assert "Every method" not in write_report(runs, tmp_path / "out").read_text()
