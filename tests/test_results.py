"""The tables in the README and the docs match the committed benchmark results."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from benchmarks.blocks import block_names
from benchmarks.drawing import svg_texts, texts
from benchmarks.speed import page
from benchmarks.speed.bars import bars
from benchmarks.speed.pictures import COST, SCALING, cost_picture, scaling_picture
from benchmarks.speed.results import read
from scipy.stats import t

from benchmarks import comparing, evidence, studies, study_tables
from lossmaxpool.environment import describe_environment
from lossmaxpool.runs.config import decisive
from lossmaxpool.training.sweep import plan
from tests.tolerances import ONE_DECIMAL, RECOMPUTED

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# The studies with results.
FOUND = [name for name in studies.STUDIES if (RESULTS / f"{name}.json").is_file()]
# The options of the losses that decide a run, by its method.
_POOLED = ("p", "min_support", "pool", "p_schedule", "min_support_schedule")
LOSS_OPTIONS = {
    "bootstrap": ("bootstrap_k",),
    "ohem": ("ohem_threshold", "ohem_min_kept"),
    **dict.fromkeys(("loss-only", "lmp", "dice-lmp"), _POOLED),
}
SPEED = sorted(path.stem.removeprefix("loss-") for path in RESULTS.glob("loss-*.json"))


def body(table: str) -> list[dict[str, str]]:
    """The rows of a Markdown table, each by the head of its columns."""
    cells = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def rows(table: str) -> list[dict[str, str]]:
    return body((RESULTS / f"{table}.md").read_text())


def block(name: str) -> str:
    """A block of a page, as the results have it."""
    return evidence.rendered(f"<!-- study: {name} -->\n<!-- end -->\n")


def shown_with(kind: str) -> list[str]:
    """The studies of which the page on evidence has a block of this kind."""
    blocks = block_names((ROOT / "docs" / "evidence.md").read_text(), "study")
    return sorted(name.removeprefix(f"{kind}-") for name in blocks if name.startswith(f"{kind}-"))


def gain_and_bounds(cell: str) -> list[float]:
    return [float(number.replace("−", "-")) for number in re.findall(r"[+−]?\d+\.\d", cell)]


def records(study: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = evidence.read(study)["records"]
    return found


def percent(cell: str) -> float:
    return float(cell.split(" ")[0])


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_names_system_and_architecture_and_no_kernel(path: Path) -> None:
    known = re.compile(r"[A-Za-z]+ [A-Za-z0-9_]+")
    assert known.fullmatch(describe_environment(torch.device("cpu"), 1)["platform"])
    named = set(re.findall(r'"platform": "([^"]*)"', path.read_text(encoding="utf-8")))
    assert not [text for text in named if not known.fullmatch(text)]


@pytest.mark.parametrize("name", FOUND)
def test_the_runs_of_a_study_are_those_that_its_definition_plans(name: str) -> None:
    study, content = studies.STUDIES[name], evidence.read(name)
    planned = {}
    for seed, (variant, part) in product(study.grid.seeds, study.variants.items()):
        methods = part.methods or study.grid.methods
        grid = replace(study.grid, methods=methods, seeds=(seed,), **part.axes)
        for config, _ in plan(studies.configuration(study, part, Path(study.data)), grid, ROOT):
            loss = config.loss
            planned[variant, config.method, seed, loss.p, loss.min_support] = config
    assert len(planned) == content["planned"] >= len(content["records"])
    for record in content["records"]:
        variant, loss = record.get("variant", ""), record["config"]["loss"]
        config = planned.pop(
            (variant, record["method"], record["seed"], float(loss["p"]), loss["min_support"])
        )
        assert record["status"] == "finished"
        assert record["evaluations"][-1]["step"] == study.steps
        assert record.get("wrong", 0.0) == study.variants[variant].wrong
        own, told = decisive(record["config"]), decisive(config.to_dict())
        # Searched rates may differ, and the data of studies that hand their own images to a run.
        left = {"optimization.lr"} if study.tune else set()
        used = LOSS_OPTIONS.get(config.method.removesuffix("+"), ())
        left |= {key for key in own if key.startswith("loss.") and key[5:] not in used}
        left |= {key for key in own if key.startswith("data.") and study.altered}
        assert not {key for key in own.keys() & told.keys() - left if own[key] != told[key]}
    assert not planned or study.altered


@pytest.mark.parametrize("path", evidence.PAGES, ids=lambda path: path.stem)
def test_the_pages_show_what_the_studies_found(path: Path) -> None:
    shown = path.read_text()
    assert shown == evidence.rendered(shown), "run: python -m benchmarks.studies --render"


def test_the_page_on_evidence_has_every_study_and_names_those_that_were_not_run() -> None:
    shown = (ROOT / "docs" / "evidence.md").read_text()
    blocks = block_names(shown, "study")
    for name in studies.STUDIES:
        assert f"setting-{name}" in blocks or f"`{name}`" in shown


@pytest.mark.parametrize("name", FOUND)
def test_the_table_of_a_study_holds_the_means_of_its_records(name: str) -> None:
    content = evidence.read(name)
    assert content["finished"] == len(content["records"]) <= content["planned"]
    table = rows(name)
    assert sum(int(row["runs"]) for row in table) == content["finished"]
    measure = "IoU" if "IoU" in table[0] else "mIoU"
    for row, of_row in zip(table, comparing.groups(content["records"]).values(), strict=True):
        scores = [
            100 * fmean(record["evaluations"][-1]["iou"][measure == "IoU" :])
            for record in of_row.values()
        ]
        assert percent(row[measure]) == pytest.approx(fmean(scores), abs=ONE_DECIMAL)


def test_folds_that_share_their_training_images_widen_the_interval() -> None:
    differences = [1.0, 2.0, 3.0, 2.5, 1.5]
    alone, shared = (comparing.half_width(differences, count) for count in (0, 5))
    expected = t.ppf(0.975, 4) * stdev(differences)
    assert alone == pytest.approx(expected / math.sqrt(5))
    assert shared == pytest.approx(expected * math.sqrt(1 / 5 + 1 / 4))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in FOUND
        if name in shown_with("pairs") or {"lmp", "ohem"} <= {r["method"] for r in records(name)}
    ],
)
def test_the_methods_over_each_rival_are_paired_differences(name: str) -> None:
    content = evidence.read(name)
    first = int(content["records"][0]["classes"][0] == "background")
    scores: dict[str, dict[int, float]] = {}
    for record in content["records"]:
        variant = f" ({record['variant']})" if record.get("variant") else ""
        of_method = scores.setdefault(record["label"] + variant, {})
        of_method[record["seed"]] = 100 * fmean(record["evaluations"][-1]["iou"][first:])
    shared = 1 / (content["folds"] - 1) if content["folds"] else 0
    seen = set()
    for row in body(block(f"pairs-{name}")):
        other = row.pop("IoU over" if first else "mIoU over")
        for own, cell in row.items():
            if cell == "–":
                continue
            seen.add((own, other))
            gains = [scores[own][seed] - scores[other][seed] for seed in scores[own]]
            middle, n = fmean(gains), len(gains)
            if n == 1:  # an unfinished study: one pair has no interval
                assert gain_and_bounds(cell) == pytest.approx([middle], abs=ONE_DECIMAL)
                assert "*" not in cell
                continue
            half = t.ppf(0.975, n - 1) * stdev(gains) * math.sqrt(1 / n + shared)
            expected = [middle, middle - half, middle + half]
            assert gain_and_bounds(cell) == pytest.approx(expected, abs=ONE_DECIMAL)
            assert (r"\*" in cell) == (abs(middle) > half)
    named = {one for pair in seen for one in pair}
    assert named == scores.keys() - {"BASE"}
    due = {("LMP", "OHEM"), ("LMP", "BASE+"), ("LMP (loss only)", "OHEM")}
    assert {pair for pair in due if scores.keys() >= set(pair)} <= seen
    assert not {(other, own) for own, other in seen} & seen


@pytest.mark.parametrize("name", shown_with("classes"))
def test_the_gains_of_classes_are_paired_differences_to_cross_entropy(name: str) -> None:
    iou: dict[str, dict[int, list[float]]] = {}
    for record in records(name):
        variant = f" ({record['variant']})" if record.get("variant") else ""
        iou.setdefault(record["label"] + variant, {})[record["seed"]] = record["iou"]
    base = iou.pop("BASE")
    names, pixels = records(name)[0]["classes"], records(name)[0]["train_pixels"]
    table = body(block(f"classes-{name}"))
    assert [row["class"] for row in table] == sorted(names, key=lambda c: -pixels[names.index(c)])
    for row in table:
        c = names.index(row["class"])
        shown = percent(row["BASE"])
        assert shown == pytest.approx(100 * fmean(s[c] for s in base.values()), abs=ONE_DECIMAL)
        for label, of_method in iou.items():
            gains = [100 * (of_method[seed][c] - base[seed][c]) for seed in of_method]
            half = t.ppf(0.975, len(gains) - 1) * stdev(gains) / math.sqrt(len(gains))
            assert gain_and_bounds(row[label]) == pytest.approx([fmean(gains)], abs=ONE_DECIMAL)
            assert row[label].endswith("*") == (abs(fmean(gains)) > half)


@pytest.mark.parametrize("name", [name for name in FOUND if name.endswith("-again")])
def test_a_repetition_differs_in_its_seeds_alone(name: str) -> None:
    first = name.removesuffix("-again")
    runs = {
        (record["method"], record["seed"]): record
        for record in (*records(first), *records(name))
        if record["method"] in ("base", "lmp")
    }
    for record in records(name):
        own, other = (decisive(one["config"]) for one in (record, runs[record["method"], 0]))
        assert {key for key in own if own[key] != other[key]} == {"seed"}
    seeds = sorted({seed for _, seed in runs})
    gains = [100 * (runs["lmp", seed]["miou"] - runs["base", seed]["miou"]) for seed in seeds]
    half = t.ppf(0.975, len(gains) - 1) * stdev(gains) / math.sqrt(len(gains))
    *_, last = body(block(f"again-{name}"))
    assert int(last["runs"]) == len(gains)
    assert gain_and_bounds(last["each seed"]) == pytest.approx(gains, abs=ONE_DECIMAL)
    assert gain_and_bounds(last["LMP over BASE"]) == pytest.approx(
        [fmean(gains), fmean(gains) - half, fmean(gains) + half], abs=ONE_DECIMAL
    )


@pytest.mark.parametrize("name", [name for name in FOUND if "tuning" in evidence.read(name)])
def test_every_run_of_a_study_has_the_best_of_the_rates_that_were_tried(name: str) -> None:
    content = evidence.read(name)
    for record in content["records"]:
        tried = dict(content["tuning"][record["variant"]]["tried"][record["method"]])
        assert record["config"]["optimization"]["lr"] == max(tried, key=lambda lr: tried[lr] or 0)
    assert f"tuning-{name}" in block_names((ROOT / "docs" / "evidence.md").read_text(), "study")


def test_the_page_says_which_version_and_which_command_made_a_record() -> None:
    for name in FOUND:
        shown, content = block(f"setting-{name}"), evidence.read(name)
        for record in content["records"]:
            assert f"lossmaxpool {record['environment']['lossmaxpool']}," in shown
        assert f"`{content['command']}`" in shown
        assert ("older command" in shown) == (content["command"] != study_tables.command(name))


def test_folds_cannot_be_repeated_until_two_points_are_settled() -> None:
    for name, methods in study_tables.power_analysis(evidence.read_all()).items():
        for method, one in methods.items():
            of_folds = bool(evidence.read(name).get("folds"))
            assert ("runs for 2 points" in one) != of_folds
            assert not of_folds or one["settles"] > 2, method
            if not of_folds and one["pairs"] >= one["runs for 2 points"]:
                assert one["settles"] <= 2, method


def test_the_power_that_is_told_is_that_of_the_paired_test() -> None:
    assert comparing.seeds_needed(0.9) == 4
    assert comparing.seeds_needed(0.9, gain=0.5) > comparing.seeds_needed(0.9) > 2


def test_the_page_on_choosing_shows_the_table_that_was_computed() -> None:
    table = (RESULTS / "choosing.md").read_text().strip()
    assert table in (ROOT / "docs" / "choosing.md").read_text()


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
    for name, picture in ((COST, cost_picture), (SCALING, scaling_picture)):
        # Compare words and numbers, not bytes: other versions of matplotlib draw other paths.
        drawn = svg_texts((images / name.format(device)).read_text(encoding="utf-8"))
        assert texts(picture(results)) <= drawn, "run: python -m benchmarks.loss --render"


@pytest.mark.parametrize("device", SPEED)
def test_the_bars_of_a_result_are_those_of_its_figures(device: str) -> None:
    results = read(device)
    assert results is not None
    written = results.content["bars"]
    for bar, computed in zip(written, bars(results), strict=True):
        # A slope is fitted: its last bits depend on LAPACK's instruction set.
        expected = computed.measured
        near = None if expected is None else pytest.approx(expected, rel=RECOMPUTED)
        assert (bar["measured"], bar["holds"]) == (near, computed.holds)


def test_the_page_on_speed_has_every_section() -> None:
    shown = (ROOT / "docs" / "speed.md").read_text()
    assert block_names(shown, "speed") == {
        *(f"{section}-cpu" for section in page.SECTIONS if section != "all"),
        "all-cuda",
        *(f"{section}-sm90" for section in page.COUNTED),
    }
