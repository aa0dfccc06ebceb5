from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from lossmaxpool.report import write_report
from lossmaxpool.report.comparison import read_runs
from lossmaxpool.report.figures import Drawing
from lossmaxpool.report.pictures import strips
from lossmaxpool.report.statistics import summarize
from tests.tolerances import SHOWN_RATIO, SHOWN_SHARE

from .conftest import (
    CLASSES,
    TRAIN_PIXELS,
    make_record,
    many_classes,
    with_calibration,
    with_weights,
    write_run,
)
from .test_comparison import without_class

MakeRuns = Callable[..., list[Path]]
VOID = {"meta", "img", "br", "hr", "col", "input"}


class Page(HTMLParser):
    """Checks that tags nest; gathers attributes, table cells and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"style", "script", "title"} & set(self.open[1:]):
            return
        self.words.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {data.strip()}".strip()

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def row(self, name: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == name)


def page_of(runs: list[Path], out: Path, **options: Any) -> Page:
    return Page(write_report(runs, out, **options).read_text(encoding="utf-8"))


FILES = ["figures", "report.html", "results.csv", "summary.json"]


def test_what_is_left_and_the_same_runs_give_the_same_bytes(
    make_runs: MakeRuns, tmp_path: Path
) -> None:
    runs = make_runs("base", "loss-only")
    first, second = (write_report(runs, tmp_path / part / "report") for part in "ab")
    assert first == tmp_path / "a" / "report" / "report.html"
    assert sorted(path.name for path in first.parent.iterdir()) == FILES
    figures = {path.name for path in (first.parent / "figures").iterdir()}
    assert {"gain-loss-only.svg", "classes.svg", "miou.svg", "confusion-base.svg"} <= figures
    assert {path.replace(".svg", ".pdf") for path in figures if path.endswith(".svg")} <= figures
    for one in first.parent.rglob("*.*"):
        other = second.parent / one.relative_to(first.parent)
        assert one.read_bytes() == other.read_bytes(), one.name


def test_an_earlier_report_survives_a_failure(
    make_runs: MakeRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = make_runs("base", "loss-only")
    page = write_report(runs, tmp_path)
    before = page.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(runs, tmp_path, title="Another")
    assert page.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*FILES, "runs"])


@pytest.fixture(autouse=True)
def without_fonts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fonts for a PDF take most of the time of a report; one test reads them."""
    if "bytes" not in request.node.name:
        monkeypatch.setattr(Drawing, "pdf", b"%PDF")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of BASE and LMP with two seeds; drawn once, as it is only read."""
    folder = tmp_path_factory.mktemp("plain")
    records = [make_record(method, seed) for method in ("base", "loss-only") for seed in (0, 1)]
    return write_report([write_run(folder / "runs", each) for each in records], folder)


def test_numbers_are_those_of_the_records(make_runs: MakeRuns, tmp_path: Path) -> None:
    page = page_of(make_runs("base", "loss-only", seeds=(0, 1, 2)), tmp_path / "out")
    records = {m: [make_record(m, seed) for seed in (0, 1, 2)] for m in ("base", "loss-only")}
    scores = {f"{name}": [[r["iou"][c] for r in records[m]] for m in records]
              for c, name in enumerate(CLASSES)}  # fmt: skip
    scores["mIoU"] = [[r["miou"] for r in records[m]] for m in records]
    scores["pixel accuracy"] = [[r["pixel_accuracy"] for r in records[m]] for m in records]
    for name, (base, method) in scores.items():
        cells = page.row(name)
        assert cells[2] == spread(base)
        assert cells[3] == spread(method)
        interval = stats.ttest_rel(method, base).confidence_interval(0.95)
        mean = (sum(method) - sum(base)) / 3
        # A gain cannot take an IoU out of [0, 1].
        low = max(interval.low, -sum(base) / 3)
        high = min(interval.high, 1 - sum(base) / 3)
        assert cells[4] == f"{signed(mean)} {signed(low)} to {signed(high)}"


def spread(values: list[float]) -> str:
    return f"{100 * sum(values) / len(values):.1f} ± {100 * stats.tstd(values):.1f}"


def signed(value: float) -> str:
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def test_every_class_has_f1_precision_and_recall(plain: Path) -> None:
    page = Page(plain.read_text(encoding="utf-8"))
    assert "F1, precision, recall of every class" in page.text
    records = [make_record("base", seed) for seed in (0, 1)]
    found = [record["confusion"][0][0] / sum(record["confusion"][0]) for record in records]
    rows = [cells for cells in page.rows if cells[:1] == [CLASSES[0]]]
    assert [len(cells) for cells in rows[:2]] == [5, 7]  # IoU with gains, three scores of two
    assert rows[1][5] == f"{100 * sum(found) / 2:.1f}"


def test_the_summary_says_what_the_page_says(plain: Path) -> None:
    page = Page(plain.read_text(encoding="utf-8"))
    summary = json.loads((plain.parent / "summary.json").read_text(encoding="utf-8"))
    assert summary["headline"] in page.text
    assert [entry["name"] for entry in summary["classes"]] == CLASSES
    assert summary["methods"][1]["seeds"] == [0, 1]
    assert len(summary["runs"]) == 4


def test_the_page_needs_nothing_from_outside(plain: Path) -> None:
    page = Page(plain.read_text(encoding="utf-8"))
    assert not {"link", "iframe", "object", "base", "form"} & {t for t, _ in page.tags}
    for _, attributes in page.tags:
        assert not {"href", "srcset", "onload", "onclick"} & set(attributes)
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("xlink:href") or "#").startswith("#")
    html = plain.read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\((?!#)", html)


def test_one_script_may_run_and_the_policy_names_it(plain: Path) -> None:
    html = plain.read_text(encoding="utf-8")
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for t, a in Page(html).tags if a.get("http-equiv"))
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy


def test_the_page_can_be_read_aloud(make_runs: MakeRuns, tmp_path: Path) -> None:
    page = page_of(make_runs("base", "loss-only"), tmp_path, title="My comparison")
    tags = page.tags
    assert dict(tags)["html"]["lang"] == "en"
    assert [tag for tag, _ in tags].count("h1") == 1
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    images = [attributes for tag, attributes in tags if tag == "img"]
    # Per example: image, truth, and for each of two methods a prediction and weights.
    assert len(images) == 2 * 6
    assert all(attributes["alt"] for attributes in images)
    drawings = [attributes for tag, attributes in tags if tag == "svg"]
    assert all(d.get("aria-label") or d.get("aria-hidden") == "true" for d in drawings)
    boxes = [a for _, a in tags if a.get("class") in ("scroll", "strip")]
    assert boxes
    assert all(box.get("aria-label") and box.get("tabindex") == "0" for box in boxes)
    assert "My comparison" in page.text


def test_names_are_text_and_never_markup(make_runs: MakeRuns, tmp_path: Path) -> None:
    attack = '<img src=x onerror="alert(1)">&amp;'

    def edit(record: dict[str, Any]) -> None:
        record["classes"][3] = attack
        record["label"] += attack
        record["data"]["name"] = attack
        record["config"][attack] = attack
        record["environment"]["command"] = attack
        for example in record["examples"]:
            example["name"] = attack

    page = page_of(make_runs("base", "loss-only", edit=edit), tmp_path, title=attack)
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.row(attack)[2]
    assert page.text.count(attack) > 10
    for figure in (tmp_path / "figures").glob("*.svg"):
        ET.parse(figure)


def test_every_picture_of_the_first_seed_is_embedded(make_runs: MakeRuns, tmp_path: Path) -> None:
    page = page_of(make_runs("base", "loss-only", seeds=(4, 7)), tmp_path)
    assert "seed 4" in page.text
    alts = {attributes["alt"] for tag, attributes in page.tags if tag == "img"}
    assert "Prediction of LMP (loss only) for scene-001" in alts
    assert "Ground truth of scene-000" in alts


def test_it_says_where_the_weight_sat_in_training(make_runs: MakeRuns, tmp_path: Path) -> None:
    page = page_of(make_runs("base", "loss-only", edit=with_weights), tmp_path / "out")
    content = (tmp_path / "out" / "report.html").read_text("utf-8")
    table = re.findall(r'aria-label="Where the weight sits".*?</table>', content, re.DOTALL)[0]
    rows = re.findall(r"<tr[^>]*><th[^>]*>(.*?)</th>(.*?)</tr>", table, re.DOTALL)[1:]
    assert len(rows) == len(CLASSES)
    last = re.findall(r"<td[^>]*>(.*?)</td>", rows[-1][1])
    rare = TRAIN_PIXELS[-1] / sum(TRAIN_PIXELS)
    below = sum(p for p in TRAIN_PIXELS if p < 0.01 * sum(TRAIN_PIXELS)) / sum(TRAIN_PIXELS)
    assert float(last[2]) == pytest.approx(2 / (1 + below), abs=SHOWN_RATIO)
    assert float(last[0]) == pytest.approx(100 * rare, rel=SHOWN_SHARE)
    assert (tmp_path / "out" / "figures" / "weights.svg").is_file()
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == ["../runs/loss-only-seed0/suspects.csv"]
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert "Image, label and prediction of a region of scene 1" in alts
    assert "labeled pole, seen as sign <&> symbol" in page.text


def test_it_shows_whether_a_network_is_as_often_right_as_it_says(
    make_runs: MakeRuns, tmp_path: Path
) -> None:
    page = page_of(make_runs("base", "loss-only", edit=with_calibration), tmp_path / "out")
    content = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "lossmaxpool calibrate RUN" in page.text
    assert (tmp_path / "out" / "figures" / "reliability.svg").is_file()
    row = content.split("ECE (less is better)")[1].split("</tr>")[0]
    assert 'class="down"' in row  # a larger error


def test_without_looks_the_page_has_no_section_on_them(plain: Path) -> None:
    content = plain.read_text("utf-8")
    assert "sits in training" not in content
    assert "Labels to look at" not in content
    assert "lossmaxpool calibrate" not in content


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "examples/0.weights.png").unlink(), "0.weights.png is missing"),
        (lambda folder: (folder / "examples/0.truth.png").write_text("no"), "is not a PNG"),
    ],
)
def test_a_picture_that_cannot_be_shown_is_told(
    make_runs: MakeRuns, tmp_path: Path, change: Callable[[Path], object], told: str
) -> None:
    runs = make_runs("base", "loss-only")
    change(runs[0])
    assert told in page_of(runs, tmp_path).text


def test_examples_may_be_absent_or_lack_weights(make_runs: MakeRuns, tmp_path: Path) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["examples"] = []

    assert "No example images" in page_of(make_runs("base", edit=edit), tmp_path / "none").text

    def edit_weights(record: dict[str, Any]) -> None:
        record["examples"][0]["weights"] = None

    page = page_of(make_runs("bootstrap", edit=edit_weights), tmp_path / "no-weights")
    assert "not recorded" in page.text


def test_one_seed_three_methods_and_no_baseline(make_runs: MakeRuns, tmp_path: Path) -> None:
    runs = make_runs("loss-only", "bootstrap", "inverse-median", seeds=(0,))
    page = page_of(runs, tmp_path)
    assert "No run of the baseline" in page.text
    assert "±" not in page.text
    assert "Gain against class frequency" not in page.text
    assert len(page.row("mIoU")) == 2 + 3


def test_three_methods_have_two_gain_figures(make_runs: MakeRuns, tmp_path: Path) -> None:
    page = page_of(make_runs("base", "loss-only", "bootstrap"), tmp_path)
    assert "LMP (loss only) against BASE" in page.words
    assert "Bootstrap against BASE" in page.words
    assert len(page.row("mIoU")) == 2 + 1 + 2 + 2


def test_unfinished_runs_are_listed(make_runs: MakeRuns, tmp_path: Path) -> None:
    def edit(record: dict[str, Any]) -> None:
        if record["method"] == "loss-only" and record["seed"] == 1:
            record["status"] = "interrupted"

    page = page_of(make_runs("base", "loss-only", edit=edit), tmp_path)
    assert any("interrupted" in row for row in page.rows)
    assert "left out of every mean" in page.text


def test_a_class_without_iou_shows_a_dash(make_runs: MakeRuns, tmp_path: Path) -> None:
    page = page_of(make_runs("base", "loss-only", edit=lambda r: without_class(r, 4)), tmp_path)
    assert page.row("car")[2:] == ["–", "–", "–"]
    assert "1 without an IoU (car)" in page.text


def test_the_page_says_which_checkpoint_was_scored(plain: Path) -> None:
    assert "last.ckpt" in Page(plain.read_text(encoding="utf-8")).text


def test_settings_tell_what_differs(make_runs: MakeRuns, tmp_path: Path) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["config"]["optimization"]["lr"] = 0.01 if record["method"] == "base" else 0.02

    page = page_of(make_runs("base", "loss-only", edit=edit), tmp_path)
    assert page.row("optimization.lr") == ["optimization.lr", "0.01", "0.02"]
    assert page.row("method") == ["method", "base", "loss-only"] or "method" in page.row("method")
    assert page.row("loss.p") == ["loss.p", "1.3"]
    assert page.row("seed") == ["seed", "0 · 1"]
    assert page.row("torch") == ["torch", "2.15.0"]
    assert "lossmaxpool train --method loss-only --seed 1" in page.text


@pytest.mark.parametrize(
    ("data_set", "own"),
    [
        ("street-scenes", {"scene_size", "train_scenes", "val_scenes", "scene_seed"}),
        ("folders", {"classes", "image_range"}),
        ("voc", {"sbd"}),
    ],
)
def test_settings_of_other_data_sets_are_left_out(
    make_runs: MakeRuns, tmp_path: Path, data_set: str, own: set[str]
) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["config"]["data"]["name"] = data_set

    page = page_of(make_runs("base", edit=edit), tmp_path)
    shown = {row[0].removeprefix("data.") for row in page.rows if row and row[0][:5] == "data."}
    assert shown == own | {"name", "root", "train_split", "val_split"}


def test_two_seeds_show_both_gains(plain: Path) -> None:
    page = Page(plain.read_text(encoding="utf-8"))
    gains = [make_record("loss-only", s)["miou"] - make_record("base", s)["miou"] for s in (0, 1)]
    assert page.row("mIoU")[4] == f"{signed(sum(gains) / 2)} {signed(gains[0])}; {signed(gains[1])}"


def test_the_totals_come_first(plain: Path) -> None:
    page = Page(plain.read_text(encoding="utf-8"))
    names = [row[0] for row in page.rows if row]
    assert names.index("mIoU") < names.index("pixel accuracy") < names.index(CLASSES[0])


def test_unchanged_classes_are_folded_away(make_runs: MakeRuns, tmp_path: Path) -> None:
    runs = make_runs("base", "loss-only", edit=many_classes)
    html = write_report(runs, tmp_path).read_text(encoding="utf-8")
    summary = summarize(read_runs(runs))
    table, folded = html.split('<details class="fold">')[:2]
    for c, name in enumerate(summary.comparison.classes):
        row = f'<th scope="row">{name}</th>'
        assert (row in folded) == (c in summary.folded)
        assert (row in table) == (c not in summary.folded)
    rare = set(re.findall(r'<tr class="rare"><th scope="row">([^<]+)</th>', html))
    assert rare == {summary.comparison.classes[c] for c in summary.rare}


def test_the_legend_has_the_classes_of_the_pictures_alone(
    make_runs: MakeRuns, tmp_path: Path
) -> None:
    (first, *_) = strips(summarize(read_runs(make_runs("base", "loss-only"))))
    assert [name for name, _ in first.legend] == [CLASSES[0], CLASSES[-1]]
