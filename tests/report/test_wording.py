from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.report.comparison import read_runs
from lossmaxpool.report.statistics import Summary, summarize
from lossmaxpool.report.wording import caveats, certainty, explanations, findings, headline, points

from .conftest import make_record, many_classes, with_classes

MakeRuns = Callable[..., list[Path]]
MakeSummary = Callable[[Sequence[float], Sequence[float]], Summary]


@pytest.fixture
def summary_of(make_runs: MakeRuns) -> MakeSummary:
    """A comparison of BASE and LMP in which every class has the given IoU, per seed."""

    def make(base: Sequence[float], method: Sequence[float]) -> Summary:
        def edit(record: dict[str, Any]) -> None:
            values = base if record["method"] == "base" else method
            hits = round(1000 * values[record["seed"]])
            # Classes of 1000 pixels, each one missed for the next, have IoU h / (2000 - h).
            counts = [[hits, 1000 - hits, 0], [0, hits, 1000 - hits], [1000 - hits, 0, hits]]
            iou = hits / (2000 - hits)
            scores = {"iou": [iou] * 3, "miou": iou, "pixel_accuracy": hits / 1000}
            record.update(classes=["bulk", "some", "rare"], colors=[[0, 0, c] for c in (7, 8, 9)])
            record.update(train_pixels=[93, 6, 1], val_pixels=[1000] * 3, confusion=counts)
            record.update(scores)
            record["evaluations"] = [{"step": 200, **scores}]

        return summarize(
            read_runs(make_runs("base", "loss-only", seeds=tuple(range(len(base))), edit=edit))
        )

    return make


def test_a_settled_gain_is_called_a_win(summary_of: MakeSummary) -> None:
    summary = summary_of([0.6, 0.61, 0.62], [0.7, 0.71, 0.72])
    assert headline(summary).startswith("LMP (loss only) beats BASE by ")
    assert "not settled" not in headline(summary)
    assert "it excludes zero" in str(findings(summary, summary.rivals[0])[0])


def test_a_settled_loss_is_called_a_loss(summary_of: MakeSummary) -> None:
    summary = summary_of([0.7, 0.71, 0.72], [0.6, 0.61, 0.62])
    assert headline(summary).startswith("LMP (loss only) loses to BASE by ")
    rare = str(findings(summary, summary.rivals[0])[1])
    assert rare.startswith("1 rare class (1.0 % of the training pixels): 1 lost (rare −")


@pytest.mark.parametrize(
    ("base", "method", "place"),
    [([0.6, 0.7], [0.7, 0.71], "ahead of"), ([0.7, 0.71], [0.6, 0.7], "behind")],
)
def test_an_interval_with_zero_is_not_settled(
    summary_of: MakeSummary, base: list[float], method: list[float], place: str
) -> None:
    summary = summary_of(base, method)
    assert f"mIoU points {place} BASE" in headline(summary)
    assert "2 seeds; not settled" in headline(summary)
    certainty = str(findings(summary, summary.rivals[0])[0])
    assert "it includes zero, so the difference is not settled" in certainty
    assert "With 2 seeds the interval is wide by nature (t = 12.7)" in certainty


def test_a_single_seed_settles_nothing(summary_of: MakeSummary) -> None:
    summary = summary_of([0.3], [0.9])
    assert "1 seed; not settled" in headline(summary)
    text = " ".join(map(str, findings(summary, summary.rivals[0])))
    assert "luck of a seed" in text
    assert "interval" not in text


def test_equal_scores_are_level(summary_of: MakeSummary) -> None:
    summary = summary_of([0.6, 0.7], [0.6, 0.7])
    assert headline(summary).startswith("LMP (loss only) and BASE are level")
    assert "1 unchanged (rare)" in str(findings(summary, summary.rivals[0])[1])


def test_one_method_alone_is_only_described(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("base")))
    assert headline(summary).startswith("BASE reaches ")
    assert not caveats(summary)


def test_without_baseline_the_highest_is_named(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("bootstrap", "loss-only")))
    assert headline(summary).startswith("LMP (loss only) has the highest mIoU on street-scenes")
    assert "No run of the baseline" in " ".join(caveats(summary))
    assert not findings(summary, summary.rivals[0])


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_an_unfinished_run_is_told_and_not_counted(make_runs: MakeRuns, status: str) -> None:
    def edit(record: dict[str, Any]) -> None:
        if record["method"] == "loss-only" and record["seed"] == 1:
            record.update(status=status, evaluations=record["evaluations"][:2], iou=[], miou=None)

    summary = summarize(read_runs(make_runs("base", "loss-only", edit=edit)))
    notes = " ".join(caveats(summary))
    assert f"LMP (loss only), seed 1: {status} at step 80" in notes
    assert "gains are over the 1 common seed" in notes
    assert summary.rivals[0].lead.n == 1
    pair = [make_record(method, 0)["miou"] for method in ("loss-only", "base")]
    assert "({:.1f} against {:.1f}, 1 seed".format(*(100 * v for v in pair)) in headline(summary)
    assert len(summary.comparison.runs) == 4


def test_a_run_that_ended_before_its_first_evaluation(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        if record["seed"] == 1:
            record.update(status="failed")
            for key in ("evaluations", "curve", "iou", "miou", "confusion", "examples", "seconds"):
                del record[key]

    summary = summarize(read_runs(make_runs("base", "loss-only", edit=edit)))
    assert "BASE, seed 1: failed before its first evaluation" in " ".join(caveats(summary))


def test_runs_of_unequal_length_are_told(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        if record["method"] == "base":
            record["evaluations"][-1]["step"] = 120

    summary = summarize(read_runs(make_runs("base", "loss-only", edit=edit)))
    assert "not like for like" in " ".join(caveats(summary))


def test_no_common_seed_gives_no_gain(make_runs: MakeRuns) -> None:
    runs = [*make_runs("base", seeds=(0,)), *make_runs("loss-only", seeds=(1,))]
    summary = summarize(read_runs(runs))
    assert "no seed in common" in headline(summary)
    assert "0 common seeds" in " ".join(caveats(summary))


def test_a_class_without_training_pixels_is_neither_rare_nor_another(make_runs: MakeRuns) -> None:
    runs = make_runs("base", "loss-only", edit=lambda r: r["train_pixels"].__setitem__(3, 0))
    summary = summarize(read_runs(runs))
    said = {f.lead: f.text for f in findings(summary, summary.rivals[0])}
    (lead,) = (lead for lead in said if "without a training pixel" in lead)
    assert lead.startswith("1 class")
    assert "tree" in said[lead]
    assert all("tree" not in text for other, text in said.items() if other != lead)


def test_long_lists_of_classes_are_counted(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("base", "loss-only", edit=many_classes)))
    text = " ".join(map(str, findings(summary, summary.rivals[0])))
    assert "class 40" not in text, "unchanged classes are counted, not named"
    assert re.search(r"\d+ unchanged", text)


def test_two_seeds_show_both_gains(summary_of: MakeSummary) -> None:
    summary = summary_of([0.6, 0.7], [0.7, 0.71])
    gains = summary.rivals[0].gains
    assert gains is not None
    both = [points(value) for value in gains.lead.by_seed.values()]
    assert certainty(gains.lead) == "; ".join(both)
    assert f"{both[0]} and {both[1]} by seed" in str(findings(summary, summary.rivals[0])[0])


def test_an_interval_ends_where_no_iou_can_be(summary_of: MakeSummary) -> None:
    gains = summary_of([0.05, 0.1, 0.9], [0.9, 0.1, 0.05]).rivals[0].gains
    assert gains is not None
    low, high = gains.lead.bounds
    assert gains.lead.low < low == -gains.lead.base
    assert gains.lead.high > high == 1 - gains.lead.base


def test_methods_are_explained_with_their_parameters(make_runs: MakeRuns) -> None:
    lines = explanations(summarize(read_runs(make_runs("base", "loss-only"))))
    assert list(lines) == ["BASE", "LMP (loss only)"]
    assert "p = 1.3" in lines["LMP (loss only)"]


def test_a_schedule_is_told_with_the_method(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        schedule = {"kind": "cosine", "start": 1.0, "steps": 90}
        record["config"]["loss"]["min_support_schedule"] = schedule

    lines = explanations(summarize(read_runs(make_runs("base", "loss-only", edit=edit))))
    assert "at least 100.0, then cosine over 90 steps to 25.0 %" in lines["LMP (loss only)"]


def test_data_read_from_folders_bear_the_name_of_the_folder(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["data"]["name"] = record["config"]["data"]["name"] = "folders"
        record["config"]["data"]["root"] = "somewhere/clothing"

    assert " on clothing " in headline(summarize(read_runs(make_runs("base", edit=edit))))


def test_of_two_classes_the_foreground_leads(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        found = 0.5 if record["method"] == "base" else 0.7
        with_classes(record, ["background", "crack"], [98, 2], [9800, 200], [0.99, found])

    summary = summarize(read_runs(make_runs("base", "loss-only", edit=edit)))
    counts = summary.methods[1].method.runs[0].confusion
    (_, wrong), (missed, hits) = counts
    measures = {name: score.mean for name, score in summary.methods[1].measures.items()}
    assert measures["crack IoU"] == pytest.approx(hits / (hits + wrong + missed))
    assert measures["crack F1"] == pytest.approx(2 * hits / (2 * hits + wrong + missed))
    assert measures["crack precision"] == pytest.approx(hits / (hits + wrong))
    assert measures["crack recall"] == pytest.approx(hits / (hits + missed))
    assert "crack IoU points" in headline(summary)
    assert summary.measures[0] == "crack IoU"


def test_the_foreground_may_come_first(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        with_classes(record, ["crack", "Background"], [2, 98], [200, 9800], [0.5, 0.99])

    assert summarize(read_runs(make_runs("base", edit=edit))).lead == "crack IoU"
