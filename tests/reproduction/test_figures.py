"""Figures 1 to 4: their numbers and their drawings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from reproduction.figures import MOMENTS, evolution_figure, evolution_strips, pixel_gains
from reproduction.runs import CheckpointWindow, Column, MethodPair, columns, find_pair, find_runs

from lossmaxpool.paper import theorems
from lossmaxpool.paper.weighting_set import contains, norm_bound, support
from reproduction import figures
from tests.report.conftest import CLASSES, VAL_PIXELS, png
from tests.tolerances import SOLVER

MakeRuns = Callable[..., list[Path]]


def words(figure: Figure) -> list[str]:
    """Every text of a drawing."""
    return [text.get_text() for text in figure.findobj(Text)]


def configured(record: dict[str, Any]) -> None:
    record["config"]["loss"] = {"p": 1.3, "min_support": 0.25}


def column(folders: list[Path]) -> Column:
    return columns(find_runs(folders[0].parent).runs, CheckpointWindow(0))[0][0]


def pair(folders: list[Path]) -> MethodPair:
    found = find_pair(column(folders))
    assert isinstance(found, MethodPair)
    return found


@pytest.mark.parametrize("p", [1, 1.4, 2, 4])
def test_spheres_have_their_norm(p: float) -> None:
    points = np.abs(figures.sphere(p))
    assert np.linalg.norm(points, ord=p, axis=1) == pytest.approx(np.ones(len(points)))


def test_the_sphere_of_the_largest_weight_is_a_square() -> None:
    assert np.abs(figures.sphere(math.inf)) == pytest.approx(np.ones((4, 2)))


def test_the_boundary_of_w_is_in_w_and_half_a_percent_further_is_not() -> None:
    p, m = 1.4, support(2, 1.4, 0.6)
    points = np.array(figures.weighting_set(p, m / 2))
    assert all(contains(np.abs(0.999999 * point), p, m) for point in points)
    assert not any(contains(np.abs(1.005 * point), p, m) for point in points)
    assert points.max() == pytest.approx(0.6)
    assert norm_bound(2, p) > 0.6


@pytest.mark.parametrize("p", [1, 1.2, 1.7, 4, math.inf])
@pytest.mark.parametrize("share", [1 / 100, 1 / 3, 1])
def test_curves_of_figure_2_are_the_oracles(p: float, share: float) -> None:
    losses = figures.synthetic_losses()
    expected = theorems.solve(losses.numpy(), p, share * len(losses)).weights
    ours = figures.optimal_weights(losses, p, share)
    assert ours == pytest.approx(expected, abs=SOLVER[losses.dtype])


def test_figure_1_draws_every_sphere_and_the_set_between_its_bounds() -> None:
    figure = figures.weighting_set_figure()
    spheres, region = figure.axes
    assert [line.get_label() for line in spheres.lines] == [
        f"p = {p}" for p in ("1", "1.4", "2", "4", "∞")
    ]
    assert len({line.get_color() for line in spheres.lines}) == 5
    assert max(np.max(line.get_xdata()) for line in region.lines) == pytest.approx(
        2 ** (1 / 1.4 - 1)
    )
    assert region.patches[0].get_xy().max() == pytest.approx(0.6)


def test_figure_2_draws_every_value_of_the_caption() -> None:
    figure = figures.weightings_figure()
    shown = words(figure)
    for name in ("p = 1.2", "p = 10", "p = ∞", "m/n = 0", "m/n = 0.8", "m/n = 1"):
        assert name in shown
    curves = {line.get_label(): line.get_ydata() for axes in figure.axes for line in axes.lines}
    assert curves["p = ∞"] == pytest.approx(np.full(figures.NUM_PIXELS, 1 / figures.NUM_PIXELS))
    losses = figures.synthetic_losses().numpy()
    for name in curves.keys() - {"p = ∞", "m/n = 1"}:
        assert curves[name] @ losses > losses.mean(), f"{name} lies above the mean (Eq. 4)"


def test_gains_stand_over_the_pixels_of_their_class(make_runs: MakeRuns) -> None:
    gains = pixel_gains(pair(make_runs("base", "loss-only", edit=configured)))
    assert not isinstance(gains, str)
    assert [each.pixels for each in gains.classes] == sorted(VAL_PIXELS)
    assert "LMP (loss only) over BASE" in gains.what
    figure = figures.pixel_gain_figure(gains)
    points = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sorted(points) == sorted(VAL_PIXELS)
    shown = words(figure)
    assert set(CLASSES) <= set(shown)
    assert any("lowest seed to the highest" in each for each in shown)


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
    figure = evolution_figure(strips)
    pictures = [image for axes in figure.axes for image in axes.images]
    assert len(pictures) == 2 * (1 + MOMENTS)
    assert pictures[0].get_array().shape[:2] == (20, 30)
    shown = words(figure)
    assert "BASE\n200 steps" in shown
    assert "LMP (loss only)\n200 steps" in shown
    assert "seen in training\nimage" in shown


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
    shown = words(evolution_figure(evolution_strips(pair(folders))[0]))
    assert shown.count("0.prediction.png is\nmissing or no PNG") == 2


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
