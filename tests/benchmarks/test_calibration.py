"""The page on the evidence shows the committed calibration, and it follows from the bins."""

from __future__ import annotations

import json

import pytest
from benchmarks.blocks import block_names
from benchmarks.drawing import svg_texts, texts

from benchmarks import calibration
from lossmaxpool.inference.calibration import HIGHEST, LOWEST
from lossmaxpool.runs.methods import DEFAULT_METHODS
from tests.tolerances import RECOMPUTED

CONTENT = json.loads(calibration.RESULTS.read_text())


def test_the_page_and_the_picture_show_what_was_measured() -> None:
    page = calibration.PAGE.read_text()
    assert block_names(page, "calibration") == {"table", "supports", "setting"}
    told = "run: python -m benchmarks.calibration --render"
    assert page == calibration.rendered(page, CONTENT), told
    assert texts(calibration.picture(CONTENT)) <= svg_texts(calibration.PICTURE.read_text()), told


def test_every_method_was_measured_under_the_same_seeds() -> None:
    seeds = {method: [run["seed"] for run in runs]
             for method, runs in calibration.of_methods(CONTENT).items()}  # fmt: skip
    assert set(seeds) == set(DEFAULT_METHODS)
    assert len({tuple(each) for each in seeds.values()}) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_errors_are_those_of_the_bins(when: str) -> None:
    for run in CONTENT["runs"]:
        assert LOWEST < run["temperature"] < HIGHEST
        found = run[when]["bins"]
        bins = zip(*(found[key] for key in ("pixels", "confidence", "accuracy")), strict=True)
        gaps = [(n, sure - right) for n, sure, right in bins if n]
        total = sum(found["pixels"])
        error = sum(n * abs(gap) for n, gap in gaps) / total
        assert run[when]["ece"] == pytest.approx(error, abs=RECOMPUTED)
        mean = sum(n * gap for n, gap in gaps) / total
        assert run[when]["overconfidence"] == pytest.approx(mean, abs=RECOMPUTED)


def test_what_the_page_says_in_words() -> None:
    """Where another measurement says something else, the words around the table are wrong."""
    of = calibration.of_methods(CONTENT)
    for method in ("loss-only", "lmp"):
        for base, own in zip(of["base"], of[method], strict=True):
            assert own["before"]["overconfidence"] < base["before"]["overconfidence"] < 0
            assert own["after"]["ece"] < own["before"]["ece"] / 4
            assert own["after"]["ece"] > base["after"]["ece"]
            assert own["after"]["nll"] > base["after"]["nll"]
    for seed in calibration.SEEDS:
        alone = [
            run
            for run in CONTENT["runs"]
            if run["seed"] == seed and run["method"] in ("base", "loss-only")
        ]
        alone.sort(key=lambda run: run["min_support"] or 1)
        unsure = [run["before"]["overconfidence"] for run in alone]
        assert len(unsure) == 4
        assert unsure == sorted(unsure)
