"""``lossmaxpool tables`` and ``lossmaxpool figures``, and the numbers of Figures 1 and 2."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from lossmaxpool.cli import main, weightings
from lossmaxpool.cli.figures import figure_1, figure_2
from lossmaxpool.paper import theorems
from lossmaxpool.paper.weighting_set import contains, norm_bound, support
from tests.report.conftest import make_record, write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for method in ("base", "loss-only"):
        record = make_record(method)
        record["config"]["loss"] = {"p": 1.3, "min_support": 0.25}
        write_run(root, record)
    return root


@pytest.mark.parametrize("p", [1, 1.4, 2, 4])
def test_spheres_have_their_norm(p: float) -> None:
    points = np.abs(weightings.sphere(p))
    assert np.linalg.norm(points, ord=p, axis=1) == pytest.approx(np.ones(len(points)))


def test_the_sphere_of_the_largest_weight_is_a_square() -> None:
    assert np.abs(weightings.sphere(math.inf)) == pytest.approx(np.ones((4, 2)))


def test_the_boundary_of_w_is_in_w_and_half_a_percent_further_is_not() -> None:
    p, m = 1.4, support(2, 1.4, 0.6)
    points = np.array(weightings.weighting_set(p, m / 2))
    assert all(contains(np.abs(0.999999 * point), p, m) for point in points)
    assert not any(contains(np.abs(1.005 * point), p, m) for point in points)
    assert points.max() == pytest.approx(0.6)
    assert norm_bound(2, p) > 0.6


@pytest.mark.parametrize("p", [1, 1.2, 1.7, 4, math.inf])
@pytest.mark.parametrize("share", [1 / 100, 1 / 3, 1])
def test_curves_of_figure_2_are_the_oracles(p: float, share: float) -> None:
    losses = weightings.synthetic_losses()
    expected = theorems.solve(losses.numpy(), p, share * len(losses)).weights
    assert weightings.optimal_weights(losses, p, share) == pytest.approx(expected, abs=1e-9)


def test_both_figures_show_every_value_of_the_caption() -> None:
    for p in ("1", "1.4", "2", "4", "∞"):
        assert f">p = {p}<" in figure_1()
    for name in ("p = 1.2", "p = 10", "p = ∞", "m/n = 0", "m/n = 0.8", "m/n = 1"):
        assert f">{name}<" in figure_2()


def test_tables_come_without_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables"]) == 0
    assert "Table 4." in capsys.readouterr().out


def test_tables_of_runs_in_markdown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tables", "--runs", str(runs), "--format", "markdown", "--steps", "[160,200]"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "| Proposed loss only & Augm. & ASPP | 74.17 ±0.03 |" in out
    assert "(2 c)" in out


def test_a_damaged_record_is_told_by_the_status(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "base-seed0" / "record.json").write_text("{")
    assert main(["tables", "--runs", str(runs)]) == 1
    assert "not valid JSON" in " ".join(capsys.readouterr().out.split())


def test_an_empty_folder_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["tables"], ["figures", "--out", str(tmp_path / "out")]):
        assert main([*words, "--runs", str(tmp_path)]) == 1
        assert "no run folder in it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_figures_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure-1.svg", "figure-2.svg"]
    assert "give --runs" in capsys.readouterr().out


def test_figures_of_runs(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["figures", "--out", str(out), "--runs", str(runs)]) == 0
    assert [path.name for path in sorted(out.iterdir())] == [
        f"figure-{number}.svg" for number in (1, 2, 3, 4)
    ]
    assert "earlier moments" in capsys.readouterr().out


def test_runs_on_two_data_sets_have_figures_of_their_own(runs: Path, tmp_path: Path) -> None:
    for method in ("base", "loss-only"):
        record = make_record(method)
        record["config"]["loss"] = {"p": 1.3, "min_support": 0.25}
        record["data"]["name"] = "camvid"
        folder = runs / f"camvid-{method}"
        folder.mkdir()
        (folder / "record.json").write_text(json.dumps(record))
    assert main(["figures", "--out", str(tmp_path / "out"), "--runs", str(runs)]) == 0
    drawn = {path.name for path in (tmp_path / "out").glob("figure-3*")}
    assert drawn == {
        "figure-3-camvid-val-whole-images.svg",
        "figure-3-street-scenes-val-whole-images.svg",
    }
