"""No table in the README or the docs is typed: they are those that the benchmarks left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean

import pytest
from benchmarks.speed import page
from benchmarks.speed.bars import bars
from benchmarks.speed.pictures import COST, SCALING, cost_picture, scaling_picture
from benchmarks.speed.results import read

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
COMPARISONS = sorted(path.stem for path in RESULTS.glob("camvid-*.json"))
SPEED = sorted(path.stem.removeprefix("loss-") for path in RESULTS.glob("loss-*.json"))


def test_the_comparisons_are_committed() -> None:
    assert COMPARISONS == ["camvid-sequence", "camvid-val"]


@pytest.mark.parametrize("name", COMPARISONS)
def test_the_readme_shows_the_table_of_the_comparison(name: str) -> None:
    table = (RESULTS / f"{name}.md").read_text().strip()
    assert table in (ROOT / "README.md").read_text()


def test_the_page_on_choosing_shows_the_table_that_was_computed() -> None:
    table = (RESULTS / "choosing.md").read_text().strip()
    assert table in (ROOT / "docs" / "choosing.md").read_text()


@pytest.mark.parametrize("name", COMPARISONS)
def test_the_table_holds_the_means_of_the_records(name: str) -> None:
    content = json.loads((RESULTS / f"{name}.json").read_text())
    rows = {
        cells[0]: cells[1:]
        for line in (RESULTS / f"{name}.md").read_text().splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) > 3
    }
    columns = rows["class"]
    for method in ("base", "loss-only"):
        records = [record for record in content["records"] if record["method"] == method]
        assert len(records) >= 2
        assert all(record["status"] == "finished" for record in records)
        assert all(record["evaluations"][-1]["step"] >= 600 for record in records)
        column = columns.index(records[0]["label"])
        shown = {
            row: float(re.match(r"[\d.]+", cells[column])[0])
            for row, cells in rows.items()  # type: ignore[index]
            if row not in ("class", ":--")
        }
        expected = {"mIoU": fmean(record["miou"] for record in records)}
        for c, label in enumerate(records[0]["classes"]):
            expected[label] = fmean(record["iou"][c] for record in records)
        for row, value in expected.items():
            assert shown[row] == pytest.approx(100 * value, abs=0.0501), row


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_says_how_and_where_it_was_measured(path: Path) -> None:
    content = json.loads(path.read_text())
    assert content["command"].startswith("python ")
    environments = (
        [content["environment"]]
        if "environment" in content
        else [record["environment"] for record in content["records"]]
    )
    for environment in environments:
        assert {"date", "device", "torch", "python", "lossmaxpool"} <= environment.keys()
    assert not re.search(r"/(home|root|tmp|work|Users)/", path.read_text())


def test_the_speed_of_the_loss_is_committed() -> None:
    assert "cpu" in SPEED
    assert set(SPEED) <= set(page.DEVICES)


@pytest.mark.parametrize("path", page.PAGES, ids=lambda path: path.stem)
def test_the_pages_show_the_speed_that_was_measured(path: Path) -> None:
    shown = path.read_text()
    assert shown == page.rendered(shown), "run: python -m benchmarks.loss --render"


@pytest.mark.parametrize("device", SPEED)
def test_the_pictures_show_the_speed_that_was_measured(device: str) -> None:
    results = read(device)
    assert results is not None
    images = ROOT / "docs" / "images"
    assert (images / COST.format(device)).read_text() == cost_picture(results)
    assert (images / SCALING.format(device)).read_text() == scaling_picture(results)


@pytest.mark.parametrize("device", SPEED)
def test_the_bars_of_a_result_are_those_of_its_figures(device: str) -> None:
    results = read(device)
    assert results is not None
    written = results.content["bars"]
    assert [bar["measured"] for bar in written] == [bar.measured for bar in bars(results)]
    assert [bar["holds"] for bar in written] == [bar.holds for bar in bars(results)]


def test_the_page_on_speed_has_every_section() -> None:
    shown = (ROOT / "docs" / "speed.md").read_text()
    asked = {name for _, name, _ in page.BLOCK.findall(shown)}
    assert asked == {
        *(f"{section}-cpu" for section in page.SECTIONS if section != "all"),
        "all-cuda",
    }
