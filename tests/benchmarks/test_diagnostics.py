"""The page on diagnostics shows the committed cost of looking, which is below one percent."""

from __future__ import annotations

import json

import torch
from benchmarks.blocks import block_names

from benchmarks import diagnostics

CONTENT = json.loads(diagnostics.RESULTS.read_text())


def test_the_page_shows_what_was_measured() -> None:
    page = diagnostics.PAGE.read_text()
    assert block_names(page, "diagnostics") == {"cost", "setting"}
    told = "run: python -m benchmarks.diagnostics --render"
    assert page == diagnostics.rendered(page, CONTENT), told


def test_a_look_every_fifty_steps_costs_less_than_a_percent() -> None:
    for shape in CONTENT["shapes"]:
        assert shape["every"] == 50
        assert shape["share"] == shape["look"]["median_ms"] / 50 / shape["step"]["median_ms"]
        assert shape["share"] < 0.01


def test_a_small_measurement() -> None:
    found = diagnostics.measure(diagnostics.QUICK[0], torch.device("cpu"), 0.01)
    assert found["step"]["median_ms"] > 0
    content = {"shapes": [found]}
    assert len({line.count("|") for line in diagnostics.cost(content).splitlines()}) == 1
