"""Figures show the data of the records, read back from the drawings."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.report import RecordError, write_gain_picture
from lossmaxpool.report.comparison import read_runs
from lossmaxpool.report.figures import (
    MARKERS,
    METHOD_COLORS,
    NARROW,
    PALETTE,
    WIDE,
    Drawing,
    class_figure,
    confusion_figure,
    cross_entropy_figure,
    gain_figure,
    in_parts,
    key,
    miou_figure,
    over_seeds,
    reliability_figure,
)
from lossmaxpool.report.statistics import Summary, summarize
from lossmaxpool.report.wording import with_std
from lossmaxpool.runs.methods import METHODS
from tests.tolerances import DRAWN

from .conftest import CLASSES, many_classes, with_calibration, with_classes

MakeRuns = Callable[..., list[Path]]
SVG = "{http://www.w3.org/2000/svg}"


def marks(drawing: Drawing) -> dict[str, tuple[float, float]]:
    """The coordinates of the marks that have a title, by title."""
    found = {}
    for group in ET.fromstring(drawing.file).iter(f"{SVG}g"):
        title, use = group.find(f"{SVG}title"), group.find(f".//{SVG}use")
        if title is not None and use is not None:
            found[str(title.text)] = (float(use.get("x", "nan")), float(use.get("y", "nan")))
    return found


def texts(drawing: Drawing) -> set[str]:
    root = ET.fromstring(drawing.file)
    return {"".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")}


def tinted(drawing: Drawing) -> list[tuple[float, float]]:
    """From top to bottom of every area of the rare classes."""
    paths = ET.fromstring(drawing.file).iter(f"{SVG}path")
    areas = [path.get("d", "") for path in paths if path.get("fill") == PALETTE["tint"][0]]
    heights = [[float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", area)] for area in areas]
    return [(min(each), max(each)) for each in heights]


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_gains_are_drawn_where_they_belong(make_runs: MakeRuns, width: int) -> None:
    summary = summarize(read_runs(make_runs("base", "loss-only")))
    rival = summary.rivals[0]
    assert rival.gains is not None
    drawing = gain_figure(summary, rival, width, 340)
    found = marks(drawing)
    assert len(found) == len(CLASSES)
    at = {name.split(":")[0]: place for name, place in found.items()}
    # Heights fall linearly with the gain, and places go by the logarithm of the share.
    order = [CLASSES.index(name) for name in at]
    heights = [rival.gains.iou[c].mean for c in order]
    places = [math.log(summary.train_share[c]) for c in order]
    for values, drawn in (
        (places, [x for x, _ in at.values()]),
        (heights, [y for _, y in at.values()]),
    ):
        slope = (drawn[-1] - drawn[0]) / (values[-1] - values[0])
        for value, place in zip(values, drawn, strict=True):
            assert place == pytest.approx(drawn[0] + slope * (value - values[0]), abs=DRAWN)
    changed = {CLASSES[c] for c in range(len(CLASSES)) if rival.gains.iou[c].points}
    assert texts(drawing) >= changed


def test_a_class_that_training_never_saw_has_no_place_on_a_log_axis(make_runs: MakeRuns) -> None:
    runs = make_runs("base", "loss-only", edit=lambda r: r["train_pixels"].__setitem__(8, 0))
    summary = summarize(read_runs(runs))
    assert len(marks(gain_figure(summary, summary.rivals[0], NARROW, 340))) == len(CLASSES) - 1


def test_of_many_classes_the_unchanged_ones_bear_no_name(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("base", "loss-only", edit=many_classes)))
    drawing = gain_figure(summary, summary.rivals[0], WIDE, 400)
    assert "class 1" in texts(drawing)
    assert "class 40" not in texts(drawing)
    assert any(name.startswith("class 40:") for name in marks(drawing)), "but a mark and a title"
    assert "class 40" not in texts(class_figure(summary, WIDE))


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_of_two_classes_both_bear_their_names(make_runs: MakeRuns, width: int) -> None:
    def unchanged(record: dict[str, Any]) -> None:
        with_classes(record, ["wall", "crack"], [98000, 2000], [9800, 200], [1.0, 0.0])

    summary = summarize(read_runs(make_runs("base", "loss-only", edit=unchanged)))
    assert texts(gain_figure(summary, summary.rivals[0], width, 400)) >= {"wall", "crack"}


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_names_of_classes_do_not_lie_on_each_other(make_runs: MakeRuns, width: int) -> None:
    def crowded(record: dict[str, Any]) -> None:
        names = [f"a long name {c}" for c in range(40)]
        gain = 0.0 if record["method"] == "base" else 0.1
        recall = [0.5 + gain + 0.001 * c * gain for c in range(40)]
        with_classes(record, names, [1000 + c for c in range(40)], [10**6] * 40, recall)

    summary = summarize(read_runs(make_runs("base", "loss-only", edit=crowded)))
    drawing = gain_figure(summary, summary.rivals[0], width, 340)
    (axes,) = drawing.figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert boxes
    for k, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:k])


def test_a_curve_is_the_mean_over_seeds_within_its_band() -> None:
    samples = over_seeds([[(1, 2.0), (2, 4.0), (3, math.nan)], [(1, 4.0), (2, 4.0), (3, 1.0)]])
    assert samples == [(1, 3, 2, 4), (2, 4, 4, 4)]


def test_parts_average_all_finite_values() -> None:
    points = [(float(step), float(step)) for step in range(1, 101)] + [(101.0, math.inf)]
    parts = in_parts(points, 10)
    assert len(parts) == 10
    assert all(step == pytest.approx(value) for step, value in parts)


@pytest.mark.parametrize("draw", [miou_figure, cross_entropy_figure])
def test_every_method_has_its_curve(
    make_runs: MakeRuns, draw: Callable[[Summary], Drawing]
) -> None:
    summary = summarize(read_runs(make_runs("base", "loss-only", "bootstrap")))
    drawing = draw(summary)
    titles = {title.text for title in ET.fromstring(drawing.file).iter(f"{SVG}title")}
    assert titles == {m.label for m in summary.methods}
    assert "LMP (loss only)" in drawing.alt


def test_each_of_the_six_methods_has_a_color_of_its_own_by_day_and_by_night() -> None:
    for night in (0, 1):
        assert len({PALETTE[f"m{i}"][night] for i in range(METHOD_COLORS)}) == METHOD_COLORS
    marks = len(MARKERS)
    looks = {(PALETTE[f"m{i % METHOD_COLORS}"], MARKERS[i % marks]) for i in range(len(METHODS))}
    assert len(looks) == len(METHODS)
    assert len({light for light, _ in PALETTE.values()}) == len(PALETTE), "dark follows from light"


def test_a_single_evaluation_is_a_mark_rather_than_nothing(make_runs: MakeRuns) -> None:
    runs = make_runs("base", "loss-only", edit=lambda r: r["evaluations"].__delitem__(slice(4)))
    root = ET.fromstring(miou_figure(summarize(read_runs(runs))).file)
    assert len(list(root.iter(f"{SVG}use"))) >= 2


def test_every_class_has_a_mark_per_method(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["classes"][0] = "a class with a very long name"

    summary = summarize(read_runs(make_runs("base", "loss-only", seeds=(0,), edit=edit)))
    found = marks(class_figure(summary, NARROW))
    assert len(found) == 2 * len(CLASSES)
    assert any("a class with a very long name" in name for name in found)
    places = {name: at for name, at in found.items() if name.startswith("BASE,")}
    for (_, one), (_, other) in zip(places.items(), list(places.items())[1:], strict=False):
        assert one[1] != other[1], "a row per class"


def test_the_tint_of_rare_classes_lies_on_the_rare_classes(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["train_pixels"][1] = record["train_pixels"][4] = 0

    summary = summarize(read_runs(make_runs("base", "loss-only", edit=edit)))
    drawing = class_figure(summary, NARROW)
    areas = tinted(drawing)
    on_tint = {
        name.removeprefix("BASE, ").split(":")[0]
        for name, (_, y) in marks(drawing).items()
        if name.startswith("BASE, ") and any(top < y < bottom for top, bottom in areas)
    }
    assert on_tint == {CLASSES[c] for c in summary.rare}
    assert not {CLASSES[1], CLASSES[4]} & on_tint


def test_a_confusion_matrix_says_where_the_pixels_went(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("base", "loss-only")))
    drawing = confusion_figure(summary, summary.methods[0])
    assert drawing is not None
    matrices = [run.confusion for run in summary.methods[0].method.runs]
    titles = {title.text for title in ET.fromstring(drawing.file).iter(f"{SVG}title")}
    for true, predicted in ((0, 0), (8, 0), (8, 1)):
        row = [sum(m[true][c] for m in matrices if m) for c in range(len(CLASSES))]
        part = 100 * row[predicted] / sum(row)
        title = f"{part:.0f} % of {CLASSES[true]} predicted as {CLASSES[predicted]}"
        assert (title in titles) == (part >= 0.5)
    assert f"{CLASSES[0]}: " in drawing.alt


def test_a_class_that_is_predicted_but_never_there_has_a_column(make_runs: MakeRuns) -> None:
    def wrong(record: dict[str, Any]) -> None:
        with_classes(record, ["a", "b", "c"], [900, 90, 10], [800, 200, 0], [1.0, 1.0, 0.0])
        record["confusion"] = [[700, 0, 100], [0, 200, 0], [0, 0, 0]]
        scores = {"iou": [0.875, 1.0, 0.0], "miou": 0.625, "pixel_accuracy": 0.9}
        record.update(scores)
        record["evaluations"][-1].update(scores)

    summary = summarize(read_runs(make_runs("base", edit=wrong)))
    drawing = confusion_figure(summary, summary.methods[0])
    titles = {title.text for title in ET.fromstring(drawing.file).iter(f"{SVG}title")}
    assert "12 % of a predicted as c" in titles
    assert texts(drawing) >= {"a", "b", "c"}


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_reliability_is_drawn_where_confidence_and_accuracy_are(
    make_runs: MakeRuns, width: int
) -> None:
    runs = make_runs("base", "loss-only", edit=with_calibration)
    summary = summarize(read_runs(runs))
    drawing = reliability_figure(summary, width)
    own = summary.methods[1].measures["ECE"]
    assert f"LMP (loss only) {with_std(own)} %" in drawing.alt
    assert "BASE 0.0 ± 0.0 %" in drawing.alt
    for index, axes in enumerate(drawing.figure.axes):
        diagonal, *_ = axes.lines
        (line,) = [line for line in axes.lines[1:] if len(line.get_xdata()) > 2]
        sure = [100 * (b + 0.5) / 15 for b in range(1, 15)]
        assert list(line.get_xdata()) == pytest.approx(sure)
        right = [min(100.0, value + 20 * index) for value in sure]
        assert list(line.get_ydata()) == pytest.approx(right)
        assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
        shares = [bar.get_height() for bar in axes.patches]
        assert sum(shares) == pytest.approx(100)
        assert len(shares) == 14  # an empty bin has no bar


def test_a_file_has_both_modes_without_variables_and_a_pdf(
    make_runs: MakeRuns, tmp_path: Path
) -> None:
    """Converters from SVG to PDF do not support CSS variables: every line would be black."""
    picture = write_gain_picture(make_runs("base", "loss-only"), tmp_path / "gain.svg").read_text()
    drawn, dark = picture.split("@media (prefers-color-scheme:dark)")
    assert "var(" not in picture
    light, night = PALETTE["m1"]
    assert f'fill="{light}"' in dark, "the marks have the light color"
    assert night in dark
    assert night not in drawn
    assert key(0).pdf.startswith(b"%PDF")


def test_a_gain_picture_is_of_two_methods(make_runs: MakeRuns, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="choose the run folders of two"):
        write_gain_picture(make_runs("loss-only", "bootstrap"), tmp_path / "gain.svg")
