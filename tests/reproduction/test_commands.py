"""``python -m reproduction tables`` and ``figures``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reproduction.__main__ import main

from lossmaxpool.cli import main as lossmaxpool
from tests.report.conftest import make_record, write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for method in ("base", "loss-only"):
        record = make_record(method)
        record["config"]["loss"] = {"p": 1.3, "min_support": 0.25}
        write_run(root, record)
    return root


@pytest.mark.parametrize("name", ["tables", "figures"])
def test_the_command_of_version_0_1_names_the_new_one(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lossmaxpool([name]) == 2
    assert f"python -m reproduction {name}" in capsys.readouterr().err


def test_tables_come_without_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables"]) == 0
    assert "Table 4." in capsys.readouterr().out


def test_tables_of_runs_in_markdown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tables", "--runs", str(runs), "--format", "markdown", "--steps", "160", "200"]
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
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"figure-{number}.{kind}" for number in (1, 2) for kind in ("pdf", "svg")
    ]
    assert "give --runs" in capsys.readouterr().out


def test_figures_of_runs(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["figures", "--out", str(out), "--runs", str(runs)]) == 0
    assert [path.name for path in sorted(out.glob("*.svg"))] == [
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
    drawn = {path.name for path in (tmp_path / "out").glob("figure-3*.svg")}
    assert drawn == {
        "figure-3-camvid-val-whole-images.svg",
        "figure-3-street-scenes-val-whole-images.svg",
    }
