"""A sweep's table, JSON and plot, from run records."""

from __future__ import annotations

import itertools
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.report.figures import PALETTE, sweep_figure
from lossmaxpool.report.sweep import read_settings, sweep_table, write_sweep
from lossmaxpool.runs import RecordError
from tests.report.conftest import make_record, write_run


def record(method: str, seed: int, p: float = 1.3, share: float = 0.25) -> dict[str, Any]:
    made = make_record(method, seed)
    made["config"]["loss"] |= {"p": p, "min_support": share}
    return made


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """BASE and two exponents of loss max-pooling, two seeds each; one run is not finished."""
    made = []
    for seed in (0, 1):
        made.append(write_run(tmp_path / "base", record("base", seed)))
        for p in (1.3, math.inf):
            run = record("loss-only", seed, p)
            if (seed, p) == (1, math.inf):
                run["status"] = "interrupted"
            made.append(write_run(tmp_path / f"p{p}", run))
    return [*made, tmp_path / "not-yet-begun"]


def test_seeds_are_brought_together_and_settings_are_not(folders: list[Path]) -> None:
    settings = read_settings(folders)
    assert [(s.method, s.p, len(s.runs), s.miou.n) for s in settings[1:]] == [
        ("loss-only", 1.3, 2, 2),
        ("loss-only", math.inf, 2, 1),
    ]
    assert settings[0].method == "base"
    assert math.isnan(settings[0].p), "its loss has no exponent, whatever the configuration says"


def test_the_table_shows_means_and_what_is_missing(folders: list[Path]) -> None:
    lines = sweep_table(folders).splitlines()
    assert lines[0].split() == ["method", "p", "m", "/", "n", "runs", "mIoU"]
    base, hard, mean = lines[1:]
    assert base.startswith("BASE")
    assert "±" in base
    assert "1.3" in hard
    assert "inf" in mean
    assert "1/2" in mean
    assert "±" not in mean


def test_what_is_written(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_sweep(folders, out)
    settings = json.loads((out / "sweep.json").read_text())["settings"]
    assert [s["p"] for s in settings] == [None, 1.3, "inf"]
    runs = settings[2]["runs"]
    assert [run["status"] for run in runs] == ["finished", "interrupted"]
    assert runs[1]["miou"] is None
    assert (out / "sweep.md").read_text().count("\n") == 5
    assert "∞" in (out / "sweep.svg").read_text()
    ET.parse(out / "sweep.svg")


def test_one_exponent_needs_no_plot(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_sweep([write_run(tmp_path, record("loss-only", 0))], out)
    assert {path.name for path in out.iterdir()} == {"sweep.json", "sweep.md"}


def test_runs_of_other_data_are_refused(tmp_path: Path) -> None:
    one, other = record("base", 0), record("base", 1)
    other["data"]["val_split"] = "test"
    made = [write_run(tmp_path, each) for each in (one, other)]
    with pytest.raises(RecordError, match="other data or classes"):
        sweep_table(made)


def test_a_record_without_its_setting_is_named(tmp_path: Path) -> None:
    run = record("loss-only", 0)
    del run["config"]["loss"]
    with pytest.raises(RecordError, match=r"loss\.p None"):
        sweep_table([write_run(tmp_path, run)])


def axes(tmp_path: Path, *settings: tuple[float, float]) -> list[str]:
    """The names on the axes of the plot of BASE and these p and m."""
    made = [write_run(tmp_path / "base", record("base", 0))]
    made += [write_run(tmp_path / f"{p}-{m}", record("loss-only", 0, p, m)) for p, m in settings]
    out = tmp_path / "out"
    out.mkdir()
    write_sweep(made, out)
    texts = [each.text for each in ET.parse(out / "sweep.svg").iter() if each.text]
    return [each for each in texts if each in ("p", "m / n")]


def test_m_alone_has_its_plot(tmp_path: Path) -> None:
    assert axes(tmp_path, (1.3, 0.1), (1.3, 0.25)) == ["m / n"]


def test_p_and_m_around_one_setting_have_a_panel_each(tmp_path: Path) -> None:
    assert axes(tmp_path, (1.3, 0.1), (1.3, 0.25), (1.7, 0.25)) == ["p", "m / n"]


def test_a_whole_grid_is_lines_over_p(tmp_path: Path) -> None:
    assert axes(tmp_path, (1.3, 0.1), (1.3, 0.25), (1.7, 0.1), (1.7, 0.25)) == ["p"]


def test_lines_levels_and_labels_of_the_plot() -> None:
    lines = {"m / n = 0.25": {1.0: [0.6], 1.3: [0.7, 0.72], math.inf: [0.5]}}
    lines |= {f"m / n = {m}": {1.0: [0.5], 1.3: [0.505]} for m in (0.3, 0.4, 0.5, 1)}
    root = ET.fromstring(sweep_figure([("p", lines)], {"BASE": [0.5, 0.52]}).file)
    elements = [e for e in root.iter() if e.tag.endswith("text")]
    texts = ["".join(e.itertext()).strip() for e in elements]
    assert texts.count("BASE") == 1
    assert {"1", "1.3", "∞", "mIoU (%)", *lines} <= set(texts)
    names = [e for e, text in zip(elements, texts, strict=True) if text in ("BASE", *lines)]
    heights = sorted(float(e.attrib["y"]) for e in names)
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 12, "labels cover one another"
    colors = {e.get("stroke") for e in root.iter() if "stroke-dasharray" not in e.get("style", "")}
    assert len(colors & {light for light, _ in PALETTE.values()}) >= len(lines)
    dashed = [e for e in root.iter() if "stroke-dasharray" in e.get("style", "")]
    assert len(dashed) == 2, "the level and its key: no line's color stands for BASE"


def test_the_longest_name_has_its_room() -> None:
    label = "Inverse median frequency and more, m / n = 0.125"
    svg = ET.fromstring(sweep_figure([("p", {label: {1.0: [0.4], 2.0: [0.5]}})], {}).file)
    (name,) = (e for e in svg.iter() if "".join(e.itertext()).strip() == label and e.get("x"))
    # An average glyph of a system font is at most 0.6 of its size wide.
    width = 0.6 * 12 * len(label)
    assert float(name.get("x", "nan")) + width <= float(svg.get("viewBox", "").split()[2])
