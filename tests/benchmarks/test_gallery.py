"""The gallery: its numbers are those of the networks, and failures are shown like gains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from benchmarks.drawing import svg_texts, texts

from benchmarks import gallery
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import compare
from tests.tolerances import RECOMPUTED
from tests.training.runs import tiny


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    compare(tiny(), ["base", "lmp"], [0], out)
    return out


def test_the_numbers_are_those_of_the_runs(runs: Path, tmp_path: Path) -> None:
    written = gallery.write_gallery(runs, None, tmp_path / "gallery")
    assert all(path.is_file() and path.parent == tmp_path / "gallery" for path in written)
    content = json.loads((tmp_path / "gallery" / "gallery.json").read_text(encoding="utf-8"))
    records = [RunRecord.read(runs / f"{name}-seed0") for name in ("base", "lmp")]
    assert content["miou"] == pytest.approx([one.miou for one in records], rel=RECOMPUTED)
    assert content["better"] + content["worse"] <= content["images"] == 3
    for row in content["classes"]:
        assert row["better"] + row["worse"] <= row["images"] <= 3
    page = (tmp_path / "gallery" / "gallery.md").read_text(encoding="utf-8")
    assert "over 3 images and 1 seed, after 8 steps" in page


def test_gains_and_losses_are_chosen_by_rule_and_none_twice() -> None:
    gain = torch.tensor([0.0, 0.3, -0.2, 0.1, -0.1, 0.2, 0.0, -0.3, 0.05])
    chosen = gallery.chosen(gain)
    assert chosen["gains"] == [1, 5, 3]
    assert chosen["losses"] == [7, 2, 4]
    assert sorted(index for kind in chosen.values() for index in kind) == list(range(9))


def test_runs_of_other_data_write_nothing_into_the_docs(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "SCENES", "something else")
    with pytest.raises(SystemExit, match="give --out"):
        gallery.write_gallery(runs, None, None)


def test_runs_without_a_common_seed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no seed"):
        gallery.folders(tmp_path)


def test_the_page_shows_what_was_found() -> None:
    shown = gallery.PAGE.read_text(encoding="utf-8")
    assert shown == gallery.rendered(shown), "run: python -m benchmarks.gallery --render"


@pytest.mark.parametrize("name", gallery.DRAWN)
def test_a_figure_is_of_the_committed_results(name: str) -> None:
    drawn = svg_texts((gallery.IMAGES / name).read_text(encoding="utf-8"))
    assert texts(gallery.DRAWN[name]()) <= drawn
