from __future__ import annotations

import itertools
import math
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.report.axes import Scale, linear_ticks, log_ticks
from lossmaxpool.report.class_figure import class_figure
from lossmaxpool.report.curve_figure import cross_entropy_figure, in_parts, miou_figure, over_seeds
from lossmaxpool.report.drawing import canvas, color, line
from lossmaxpool.report.files import standalone, style
from lossmaxpool.report.gain_figure import gain_figure
from lossmaxpool.report.labels import Box, place
from lossmaxpool.report.records import read_runs
from lossmaxpool.report.statistics import Summary, summarize
from lossmaxpool.training.methods import METHODS

from .conftest import CLASSES

MakeRuns = Callable[..., list[Path]]


@pytest.mark.parametrize("seed", range(20))
def test_labels_cover_neither_each_other_nor_points(seed: int) -> None:
    chance = random.Random(seed)
    bounds = Box(40, 20, 350, 300)
    points = [(chance.uniform(50, 340), chance.uniform(30, 290)) for _ in range(19)]
    obstacles = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    names = ["x" * chance.randint(3, 13) for _ in points]
    labels = [label for label in place(names, points, obstacles, bounds) if label]
    assert len(labels) >= 15
    for a, b in itertools.combinations(labels, 2):
        assert not a.box.overlaps(b.box)
    for label in labels:
        assert label.box.inside(bounds)
        assert not any(map(label.box.overlaps, obstacles))


def test_a_label_without_a_line_stands_nearest_to_its_own_point() -> None:
    points = [(100.0, 100.0), (118.0, 108.0), (125.0, 95.0)]
    for point, label in zip(
        points, place(["pole", "person", "sign"], points, [], Box(0, 0, 300, 300)), strict=True
    ):
        assert label is not None
        if not label.leader:
            assert min(points, key=lambda other: label.box.distance(*other)) == point


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 31), (0, 600), (0.001, 0.002), (2, 2)])
def test_ticks_cover_the_data_at_even_steps(low: float, high: float) -> None:
    ticks = linear_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps))


@pytest.mark.parametrize(("low", "high"), [(0.2, 60), (0.0004, 80), (3, 40)])
def test_log_ticks_lie_inside(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(low <= tick <= high for tick in ticks)


def test_a_log_scale_spaces_ratios_evenly() -> None:
    x = Scale(0.1, 10, 0, 100, log=True)
    assert [x(value) for value in (0.1, 1, 10)] == pytest.approx([0, 50, 100])


def test_gains_are_drawn_where_they_belong(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("base", "loss-only")))
    rival = summary.rivals[0]
    assert rival.gains is not None
    svg = ET.fromstring(gain_figure(summary, rival, 360, 340, "narrow"))
    centers = [
        (float(mark.get("cx", "nan")), float(mark.get("cy", "nan"))) for mark in svg.iter("circle")
    ]
    rarest_first = summary.by_share[::-1]
    assert len(centers) == len(CLASSES)
    # Heights fall linearly with the gain, and places go by the logarithm of the share.
    heights = [rival.gains.iou[c].mean for c in rarest_first]
    places = [math.log(summary.train_share[c]) for c in rarest_first]
    for values, drawn in ((places, [x for x, _ in centers]), (heights, [y for _, y in centers])):
        slope = (drawn[-1] - drawn[0]) / (values[-1] - values[0])
        for value, at in zip(values, drawn, strict=True):
            assert at == pytest.approx(drawn[0] + slope * (value - values[0]), abs=0.02)
    assert {text.text for text in svg.iter("text")} >= set(CLASSES)


def test_a_class_that_training_never_saw_has_no_place_on_a_log_axis(make_runs: MakeRuns) -> None:
    runs = make_runs("base", "loss-only", edit=lambda r: r["train_pixels"].__setitem__(8, 0))
    summary = summarize(read_runs(runs))
    svg = ET.fromstring(gain_figure(summary, summary.rivals[0], 360, 340, "narrow"))
    assert len(list(svg.iter("circle"))) == len(CLASSES) - 1


def test_a_curve_is_the_mean_over_seeds_within_its_band() -> None:
    samples = over_seeds([[(1, 2.0), (2, 4.0), (3, math.nan)], [(1, 4.0), (2, 4.0), (3, 1.0)]])
    assert [(s.step, s.low, s.mean, s.high) for s in samples] == [(1, 2, 3, 4), (2, 4, 4, 4)]


def test_parts_average_all_finite_values() -> None:
    points = [(float(step), float(step)) for step in range(1, 101)] + [(101.0, math.inf)]
    parts = in_parts(points, 10)
    assert len(parts) == 10
    assert all(step == pytest.approx(value) for step, value in parts)


@pytest.mark.parametrize("draw", [miou_figure, cross_entropy_figure])
def test_every_method_has_its_curve(make_runs: MakeRuns, draw: Callable[[Summary], str]) -> None:
    summary = summarize(read_runs(make_runs("base", "loss-only", "bootstrap")))
    svg = ET.fromstring(draw(summary))
    assert [p.get("class") for p in svg.iter("polyline")] == ["curve m0", "curve m1", "curve m2"]
    assert "LMP (loss only)" in (svg.get("aria-label") or "")


def test_each_of_the_six_methods_has_a_colour_of_its_own_by_day_and_by_night() -> None:
    sheet = style("drawing.css")
    for values in re.findall(r":root \{(.*?)\}", sheet, re.DOTALL):
        assert len(set(re.findall(r"--m\d: (#\w+);", values))) == len(METHODS)
    assert all(f".{color(i)} {{" in sheet for i in range(len(METHODS)))
    assert len({color(i) for i in range(len(METHODS))}) == len(METHODS)


def test_a_single_evaluation_is_a_mark_rather_than_nothing(make_runs: MakeRuns) -> None:
    runs = make_runs("base", "loss-only", edit=lambda r: r["evaluations"].__delitem__(slice(4)))
    svg = ET.fromstring(miou_figure(summarize(read_runs(runs))))
    assert len(list(svg.iter("circle"))) == 2


def test_every_class_has_a_mark_per_method(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["classes"][0] = "a class with a very long name"

    summary = summarize(read_runs(make_runs("base", "loss-only", seeds=(0,), edit=edit)))
    svg = ET.fromstring(class_figure(summary, 360, "narrow"))
    assert len(list(svg.iter("circle"))) == 2 * len(CLASSES)
    assert "a class with a very long name" in {title.text for title in svg.iter("title")}


@pytest.mark.parametrize("sheets", [()])
def test_a_picture_alone_has_colours_without_variables(sheets: tuple[str, ...]) -> None:
    """What typesets a paper knows no CSS variables and would draw every line black."""
    drawn = standalone(canvas(10, 10, "a line", line(0, 0, 1, 1, "curve m0")), *sheets)
    light, dark = drawn.split("@media (prefers-color-scheme: dark)")
    assert "var(" not in drawn
    assert "--" not in drawn
    assert ".m0 { color: #0068a8; }" in light
    assert ".m0 { color: #62b6ea; }" in dark
    ET.fromstring(drawn)


def test_the_tint_of_rare_classes_lies_on_the_rare_classes(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["train_pixels"][1] = record["train_pixels"][4] = 0

    summary = summarize(read_runs(make_runs("base", "loss-only", edit=edit)))
    svg = ET.fromstring(class_figure(summary, 360, "narrow"))
    names = {
        text.findtext("title", ""): float(text.get("y", "nan"))
        for text in svg.iter("text")
        if text.get("class") == "name"
    }
    tinted = {
        name
        for rect in svg.iter("rect")
        for name, y in names.items()
        if 0 < y - float(rect.get("y", "nan")) < float(rect.get("height", "nan"))
    }
    assert tinted == {CLASSES[c] for c in summary.rare}
    assert not {CLASSES[1], CLASSES[4]} & tinted
