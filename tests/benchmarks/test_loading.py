"""The page and the picture on loading are those of the committed measurement."""

from __future__ import annotations

import json
import re

import pytest
from benchmarks.blocks import block_names
from benchmarks.drawing import svg_texts, texts

from benchmarks import loading

CONTENT = json.loads(loading.RESULTS.read_text())


def test_the_page_shows_what_was_measured() -> None:
    page = loading.PAGE.read_text()
    assert block_names(page, "loading") == {"rates", "setting", "decoders"}
    assert page == loading.rendered(page, CONTENT), "run: python -m benchmarks.loading --render"
    drawn = svg_texts(loading.PICTURE.read_text(encoding="utf-8"))
    assert texts(loading.picture(CONTENT)) <= drawn, "run: python -m benchmarks.loading --render"


def test_the_page_says_of_the_decoders_what_was_measured() -> None:
    page = " ".join(loading.PAGE.read_text(encoding="utf-8").split())
    assert "decodes the same bits in much the same time" in page
    for shape in CONTENT["shapes"]:
        assert shape["torchvision_gives_the_same_bits"]
        whole = shape["decoders"]["Pillow, as it is read here"]["median_ms"]
        other = shape["decoders"]["torchvision"]["median_ms"]
        assert 0.5 < other / whole < 1.5
        half = shape["decoders"].get("Pillow, half size")
        assert half is None or half["median_ms"] < whole


@pytest.mark.filterwarnings("ignore:.*capabilities of TorchVision are deprecated")
def test_a_small_measurement(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers would be forked from a process with threads; the main process reads as they do.
    monkeypatch.setattr(loading, "WORKERS", (0,))
    measured = loading.measure(loading.QUICK[0], tmp_path_factory.mktemp("quick"), 0.01)
    assert set(measured["stages"]) == set(loading.STAGES)
    assert measured["images_per_second"][0] > 0
    content = {"shapes": [measured]}
    for table in (loading.rates(content), loading.decoders(content)):
        assert len({len(re.findall(r"\|", line)) for line in table.splitlines()}) == 1
    bars = [bar.get_width() for axes in loading.picture(content).axes for bar in axes.patches]
    assert bars == [measured["stages"][stage]["median_ms"] for stage in loading.STAGES]
