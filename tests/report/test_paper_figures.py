from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.report.paper_figures import (
    Weightings,
    evolution_figure,
    evolution_strips,
    pixel_gain_figure,
    pixel_gains,
    weighting_set_figure,
    weightings_figure,
)
from lossmaxpool.report.paper_figures.evolution import MOMENTS
from lossmaxpool.report.paper_figures.ramp import STEPS, names, ramp
from lossmaxpool.report.protocol import Window, find_runs
from lossmaxpool.report.protocol.columns import Column, columns
from lossmaxpool.report.protocol.pairs import Pair, find_pair

from .conftest import CLASSES, VAL_PIXELS, png

MakeRuns = Callable[..., list[Path]]


def configured(record: dict[str, Any]) -> None:
    record["config"] = {"loss": {"p": 1.3, "min_support": 0.25}}


def column(folders: list[Path]) -> Column:
    return columns(find_runs(folders[0].parent).runs, Window(0))[0][0]


def pair(folders: list[Path]) -> Pair:
    found = find_pair(column(folders))
    assert isinstance(found, Pair)
    return found


def test_the_spheres_and_the_set_are_drawn_as_given() -> None:
    diamond = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)]
    svg = ET.fromstring(weighting_set_figure({"1": diamond}, diamond, diamond, 0.6, "n = 2"))
    polygons = [each.get("class") for each in svg.iter("polygon")]
    assert polygons == ["outline r0", "region", "bound", "bound", "rim"]
    assert "p = 1" in {each.text for each in svg.iter("text")}


def test_every_weighting_has_its_curve_and_its_name() -> None:
    panels = [Weightings("left", {"p = 1": [0, 1], "p = 2": [0.2, 0.8]})] * 2
    svg = ET.fromstring(weightings_figure([1.0, 2.0], panels))
    assert [each.get("class") for each in svg.iter("polyline")] == ["curve r0", "curve r8"] * 2
    assert [each.text for each in svg.iter("text")].count("p = 2") == 2


@pytest.mark.parametrize("count", range(1, STEPS + 1))
def test_every_curve_has_its_own_colour(count: int) -> None:
    assert len({ramp(i, count) for i in range(count)}) == count


def test_names_of_close_curves_move_apart_and_stay_in_the_panel() -> None:
    placed = names(["a", "b", "c", "d"], [10, 96, 98, 100], x=0, lowest=100)
    heights = [float(ET.fromstring(each).get("y", "nan")) for each in placed]
    assert max(heights) <= 100
    assert all(b - a >= 14 for a, b in itertools.pairwise(heights))


def test_gains_stand_over_the_pixels_of_their_class(make_runs: MakeRuns) -> None:
    gains = pixel_gains(pair(make_runs("base", "loss-only", edit=configured)))
    assert not isinstance(gains, str)
    assert [each.at for each in gains.classes] == sorted(VAL_PIXELS)
    assert "LMP (loss only) over BASE" in gains.what
    svg = ET.fromstring(pixel_gain_figure(gains))
    assert len(list(svg.iter("circle"))) == len(CLASSES)
    assert any("bars reach" in (each.text or "") for each in svg.iter("text"))


def test_base_plus_and_lmp_are_preferred(make_runs: MakeRuns) -> None:
    folders = make_runs("base", "loss-only", seeds=(0,), edit=configured)
    for folder, method, label in zip(folders, ("base+", "lmp"), ("BASE+", "LMP"), strict=True):
        record = json.loads((folder / "record.json").read_text())
        record |= {"method": method, "label": label}
        twin = folder.with_name(method)
        twin.mkdir()
        (twin / "record.json").write_text(json.dumps(record))
    assert pair(folders).labels == ("BASE+", "LMP")


def test_a_missing_method_is_named(make_runs: MakeRuns) -> None:
    reason = find_pair(column(make_runs("base", edit=configured)))
    assert "base+ and lmp: no finished run of base+ or lmp" in str(reason)
    assert "base and loss-only: no finished run of loss-only" in str(reason)


def test_seeds_without_a_partner_are_no_pair(make_runs: MakeRuns) -> None:
    make_runs("base", seeds=(0,), edit=configured)
    folders = make_runs("loss-only", seeds=(1,), edit=configured)
    assert "no seed in common" in str(find_pair(column(folders)))


def test_of_several_settings_the_papers_is_drawn(make_runs: MakeRuns) -> None:
    make_runs("base", seeds=(0,), edit=configured)
    first = make_runs("loss-only", seeds=(0,), edit=configured)[0]
    record = json.loads((first / "record.json").read_text())
    for p in (1.1, 1.7):
        record["config"]["loss"]["p"] = p
        (first.parent / str(p)).mkdir()
        (first.parent / str(p) / "record.json").write_text(json.dumps(record))
    assert pair([first]).method[0].run.folder == first
    (first / "record.json").unlink()
    assert "none with p = 1.3" in str(find_pair(column([first])))


def evolved(folders: list[Path], steps: range) -> None:
    """Adds pictures of a training image after these steps to run folders."""
    for folder in folders:
        record = json.loads((folder / "record.json").read_text())
        record["evolution"] = []
        for step in steps:
            entry = {"step": step, "name": "seen in training"}
            for kind in ("image", "truth", "prediction"):
                entry[kind] = f"examples/{step}.{kind}.png"
                (folder / entry[kind]).write_bytes(png(30, 20, (step, 0, 0)))
            record["evolution"].append(entry)
        (folder / "record.json").write_text(json.dumps(record))


def test_a_strip_shows_the_papers_number_of_moments_and_the_last(make_runs: MakeRuns) -> None:
    folders = make_runs("base", "loss-only", seeds=(0,), edit=configured)
    evolved(folders, range(10, 201, 10))
    strips, missing = evolution_strips(pair(folders))
    assert not missing
    svg = ET.fromstring(evolution_figure(strips))
    pictures = list(svg.iter("image"))
    assert len(pictures) == 2 * (1 + MOMENTS)
    assert float(pictures[0].get("height", "nan")) == pytest.approx(100)  # 150 wide, 30 x 20
    words = [each.text for each in svg.iter("text")]
    assert "200 steps" in words
    assert {"BASE", "LMP (loss only)", "seen in training"} <= set(words)


def test_without_an_evolution_the_examples_stand_in_and_it_is_said(make_runs: MakeRuns) -> None:
    strips, missing = evolution_strips(
        pair(make_runs("base", "loss-only", seeds=(0,), edit=configured))
    )
    assert [strip.name for strip in strips] == ["scene-000", "scene-001"]
    assert "the earlier moments of the paper's figure are missing" in missing


def test_a_lost_picture_is_named_in_its_place(make_runs: MakeRuns) -> None:
    folders = make_runs("base", "loss-only", seeds=(0,), edit=configured)
    (folders[0] / "examples" / "0.prediction.png").unlink()
    (folders[1] / "examples" / "0.prediction.png").write_text("no picture")
    svg = ET.fromstring(evolution_figure(evolution_strips(pair(folders))[0]))
    words = [each.text for each in svg.iter("text")]
    assert words.count("0.prediction.png is missing or no PNG") == 2


def test_runs_without_pictures_have_no_strip(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        configured(record)
        record["examples"] = []

    strips, missing = evolution_strips(pair(make_runs("base", "loss-only", seeds=(0,), edit=edit)))
    assert strips == []
    assert "no pictures of the same image" in missing
    with pytest.raises(ValueError, match="strips is empty"):
        evolution_figure(strips)


def test_pictures_outside_the_run_folder_are_refused(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        paths = {"image": "../a.png", "truth": "b.png", "prediction": "c.png"}
        record["evolution"] = [{"step": 1, "name": "x", **paths}]

    found = find_runs(make_runs("base", seeds=(0,), edit=edit)[0])
    assert "inside the run folder" in found.damaged[0]
