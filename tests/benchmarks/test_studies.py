"""The studies on drawn scenes train as the demo does, and what stands side by side is paired."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.drawing import svg_texts, texts

from benchmarks import comparing, evidence, studies, study_pictures, study_tables
from lossmaxpool.cli.trainings import configuration
from lossmaxpool.runs.config import decisive
from lossmaxpool.training import tuning
from tests.tolerances import RECOMPUTED

SCENES = [name for name, study in studies.STUDIES.items() if study.data == studies.SCENES]
DRAWN = [name for name in studies.STUDIES if (evidence.RESULTS / f"{name}.json").is_file()]


def record(method: str, seed: int, iou: float, **more: Any) -> dict[str, Any]:
    """The part of a record that the tables read."""
    loss = {"p": more.pop("p", 1.3), "min_support": more.pop("min_support", 0.25)}
    optimization = {"steps": 4, "lr": 0.1}
    return {
        "method": method,
        "label": method.upper(),
        "seed": seed,
        "classes": ["road", "pole"],
        "config": {"loss": loss, "optimization": optimization},
        "evaluations": [{"step": step, "iou": [iou * step / 4, 0.0]} for step in (2, 4)],
        **more,
    }


@pytest.mark.parametrize("name", SCENES)
def test_a_study_of_scenes_has_the_settings_of_the_demo(name: str) -> None:
    study = studies.STUDIES[name]
    demo = decisive(configuration(steps=400).to_dict())
    for variant in study.variants.values():
        own = decisive(studies.configuration(study, variant, Path()).to_dict())
        other = {
            key
            for key in demo.keys() | own.keys()
            if demo.get(key) != own.get(key) and key.partition(".")[0] not in ("losses", "loss")
        }
        assert not other - ({"data.name", "data.train_scenes", "data.val_scenes"} if study.altered
                            else set())  # fmt: skip


def test_wrong_labels_are_in_the_training_scenes_alone() -> None:
    study = studies.STUDIES["scenes-noise"]
    clean = studies.opened(study, studies.WRONG["wrong-0"], 0, Path())
    given = studies.opened(study, studies.WRONG["wrong-20"], 0, Path())
    assert clean.train_set is not None
    assert given.train_set is not None
    assert given.val_set is not None
    scenes = studies.open_dataset(studies.DEMO.data, "train")
    assert len(clean.train_set) == len(given.train_set) == len(scenes)
    assert torch.equal(clean.train_set.mask(3), scenes.mask(3))
    assert torch.equal(given.train_set[3].image, scenes[3].image)
    assert not torch.equal(given.train_set.mask(3), scenes.mask(3))
    truth = studies.open_dataset(studies.DEMO.data, "val")
    assert torch.equal(given.val_set.mask(1), truth.mask(1))


def test_runs_with_another_p_or_m_are_other_parts() -> None:
    parts = comparing.groups(
        [record("base", 0, 0.4)]
        + [record("lmp", seed, 0.5, min_support=m) for m in (0.1, 0.5) for seed in (0, 1)]
    )
    assert [(*part, list(runs)) for part, runs in parts.items()] == [
        ("", "base", "", [0]),
        ("", "lmp", "m / n 0.1", [0, 1]),
        ("", "lmp", "m / n 0.5", [0, 1]),
    ]


def test_a_gain_is_over_base_of_the_same_part_or_over_the_part_that_is_named() -> None:
    parts = comparing.groups(
        [
            record(method, seed, iou + seed / 100, variant=variant)
            for variant, extra in (("constant", 0.0), ("falling", 0.1))
            for method, iou in (("base", 0.4), ("lmp", 0.5 + extra))
            for seed in (0, 1)
        ]
    )
    part = comparing.Condition("falling", "lmp")
    for over, expected in (("", 10.0), ("constant", 5.0)):
        found = comparing.gains(parts[part], comparing.reference(parts, part, over))
        assert found == pytest.approx([expected] * 2, rel=RECOMPUTED)
    assert not comparing.reference(parts, comparing.Condition("falling", "base"), "")
    assert not comparing.reference(parts, comparing.Condition("constant", "lmp"), "constant")


def test_an_unfinished_pair_is_no_pair() -> None:
    own, base = ({seed: record("lmp", seed, 0.5) for seed in seeds} for seeds in ((0, 1), (1, 2)))
    assert comparing.gains(own, base) == [0.0]


@pytest.mark.parametrize("over", ["", "constant"])
@pytest.mark.parametrize("wrong", [0.0, 0.2])
def test_every_kind_of_study_has_a_table_and_a_picture(
    over: str, wrong: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    monkeypatch.setattr(evidence, "IMAGES", tmp_path)
    records = [
        record(method, seed, iou + share, variant=variant, wrong=share)
        for variant, share in (("constant", 0.0), ("other", wrong))
        for method, iou in (("base", 0.4), ("lmp", 0.5))
        for seed in (0, 1)
    ]
    content = {"question": "Does it?", "folds": 0, "over": over, "records": records}
    (tmp_path / "some.json").write_text(json.dumps(content))
    evidence.write_tables("some")
    head, _, *rows = (tmp_path / "some.md").read_text().splitlines()
    assert f"mIoU over {over or 'BASE'}" in head
    assert len(rows) == 4
    assert {"BASE", "LMP"} <= {word.strip() for row in rows for word in row.split("|")}
    assert svg_texts((tmp_path / "study-some.svg").read_text(encoding="utf-8"))


def test_every_p_and_m_stands_beside_the_mean_and_the_papers_and_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    monkeypatch.setattr(evidence, "IMAGES", tmp_path)
    settings = [(1.0, 0.25), (1.3, 0.25), (2.0, 0.25), (1.3, 0.1), (1.3, 0.5)]
    records = [record(method, seed, iou) for method, iou in (("base", 0.4), ("base+", 0.44))
               for seed in (0, 1)] + [
        record("lmp", seed, 0.5 + p / 100 + m / 10, p=p, min_support=m)
        for p, m in settings
        for seed in (0, 1)
    ]  # fmt: skip
    content = {"question": "Which?", "folds": 0, "over": "", "records": records}
    (tmp_path / "some.json").write_text(json.dumps(content))
    evidence.write_tables("some")
    shown = [
        (
            [text.get_text() for text in axes.get_xticklabels()],
            [float(y) for y in axes.lines[0].get_ydata()],
        )
        for axes in study_pictures.picture(content).axes
    ]
    over_p, over_m = shown
    assert over_p[0] == ["1", "1.3", "2", "inf"]
    assert over_p[1] == pytest.approx([26.75, 26.9, 27.25, 22.0], rel=RECOMPUTED)
    assert over_m[0] == ["0.1", "0.25", "0.5", "1"]
    assert over_m[1] == pytest.approx([26.15, 26.9, 28.15, 22.0], rel=RECOMPUTED)
    table = (tmp_path / "some.md").read_text()
    assert table.count("| LMP, p ") == len(settings)
    assert "+6.8" in table
    page = evidence.rendered("<!-- study: p_and_m-some -->\n<!-- end -->\n")
    rows = [row.strip(" |").split(" | ") for row in page.splitlines() if row.startswith("| ")][2:]
    assert [(float(p), float(m)) for p, m, *_ in rows] == sorted(settings)
    over_mean, over_usual = (
        [float(cell.split(r"\*")[0].replace("−", "-").replace("–", "0")) for cell in cells]
        for cells in list(zip(*rows, strict=True))[3:]
    )
    assert over_mean == pytest.approx([4.75, 4.15, 4.9, 6.15, 5.25], abs=0.06)
    assert over_usual == pytest.approx([-0.15, -0.75, 0, 1.25, 0.35], abs=0.06)


def test_several_losses_with_the_sampler_stand_beside_themselves_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    ends = {"base": 0.4, "base+": 0.42, "loss-only": 0.5, "lmp": 0.5, "ohem": 0.48, "ohem+": 0.44}
    records = [
        record(method, seed, iou + seed / 100) for method, iou in ends.items() for seed in (0, 1)
    ]
    content = {"question": "?", "folds": 0, "over": "", "records": records}
    (tmp_path / "some.json").write_text(json.dumps(content))
    page = evidence.rendered("<!-- study: sampler-some -->\n<!-- end -->\n")
    rows = {row.split(" | ")[0].strip("| "): row.strip(" |").split(" | ") for row in
            page.splitlines() if row.startswith("| ")}  # fmt: skip
    assert list(rows)[2:] == ["BASE", "LOSS-ONLY", "OHEM"]
    signs = {name: [cell[:4] for cell in row[3:]] for name, row in rows.items()}
    assert signs["BASE"] == ["+1.0", "+5.0", "+4.0"]
    assert signs["LOSS-ONLY"] == ["0.0 ", "–", "–"]
    assert signs["OHEM"] == ["−2.0", "+1.0", "+3.0"]
    levels, sampler = study_pictures.picture(content).axes
    means = {y: x for line in sampler.lines if line.get_marker() == "D"
             for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}  # fmt: skip
    assert means == pytest.approx({0: 1.0, 1: 0.0, 2: -2.0}, abs=RECOMPUTED)
    assert [text.get_text() for text in levels.get_yticklabels()] == list(rows)[2:]


def test_a_method_with_several_settings_is_compared_under_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    ends = {("base", ""): 0.4, ("lmp", ""): 0.5, ("bootstrap", "quarter"): 0.45,
            ("bootstrap", "sixteenth"): 0.3}  # fmt: skip
    records = [
        record(method, seed, iou + seed * iou / 10, variant=variant)
        for (method, variant), iou in ends.items()
        for seed in (0, 1, 2)
    ]
    tried = {"steps": 2, "held_out": 0.2, "seconds": 1.0}
    tuning = {
        variant: {
            **tried,
            "tried": {m: [[0.1, 0.3], [0.3, None]] for m, v in ends if v == variant},
        }
        for variant in {variant for _, variant in ends}
    }
    content = {"question": "?", "folds": 0, "over": "", "tuning": tuning, "records": records}
    (tmp_path / "some.json").write_text(json.dumps(content))
    pairs, rates = (
        evidence.rendered(f"<!-- study: {kind}-some -->\n<!-- end -->\n")
        for kind in ("pairs", "tuning")
    )
    assert "| BOOTSTRAP (quarter) | +2.8\\* (+" in pairs
    assert "| BOOTSTRAP (sixteenth) | +11.0\\* (+" in pairs
    assert "| LMP | **30.0** | – |" in rates
    assert "at the edge of those tried: BASE (0.1), LMP (0.1), BOOTSTRAP (quarter) (0.1)" in rates


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_of_the_committed_results(name: str) -> None:
    drawn = svg_texts((evidence.IMAGES / f"study-{name}.svg").read_text(encoding="utf-8"))
    told = "run: python -m benchmarks.studies --render"
    assert texts(study_pictures.picture(evidence.read(name))) <= drawn, told


def test_scenes_are_trained_without_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["studies", "scenes-noise", "crackforest", "--out", "runs"])
    with pytest.raises(SystemExit):
        studies.main()
    assert "--data is needed to train" in capsys.readouterr().err
    assert study_tables.command("scenes-noise") == (
        "python -m benchmarks.studies scenes-noise --out runs/studies"
    )


def test_a_study_trains_collects_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    monkeypatch.setattr(evidence, "IMAGES", tmp_path)
    few = replace(studies.DEMO.data, train_scenes=4, val_scenes=2, scene_size=(64, 96))
    monkeypatch.setattr(studies, "DEMO", replace(studies.DEMO, data=few))
    monkeypatch.setattr(tuning, "FACTORS", (1.0, 3.0))
    studies.images.cache_clear()
    whole = studies.STUDIES["scenes-noise"]
    descent = {**whole.descent, "warmup": 0}
    shares = {name: studies.WRONG[name] for name in ("wrong-0", "wrong-20")}
    study = replace(whole, steps=4, crop=32, batch=2, descent=descent, tune=1, variants=shares,
                    grid=replace(whole.grid, min_support=(0.1, 0.5), seeds=(0,)))  # fmt: skip
    runs = studies.folders(study, Path(), tmp_path)
    studies.train_study(study, Path(), tmp_path, jobs=1)
    written = [(folder / "record.json").stat().st_mtime_ns for _, folder in runs]
    studies.train_study(study, Path(), tmp_path, jobs=1)
    assert [(folder / "record.json").stat().st_mtime_ns for _, folder in runs] == written
    evidence.collect("scenes-noise", study, runs)
    content = evidence.read("scenes-noise")
    assert content["finished"] == content["planned"] == 6
    # Each part saw its own masks: wrong labels move pixels between classes, and add none.
    right, wrong = (
        {tuple(record["train_pixels"]) for record in content["records"] if record["wrong"] == share}
        for share in (0.0, 0.2)
    )
    assert len(right) == len(wrong) == 1
    assert right != wrong
    assert sum(right.pop()) == sum(wrong.pop())
    (backend,) = {record["cost"]["backend"] for record in content["records"]}
    shown = evidence.rendered("<!-- study: setting-scenes-noise -->\n<!-- end -->\n")
    assert (f"Loss max-pooling by: {backend}." in shown) == (backend != "native")
    assert content["tuning"].keys() == study.variants.keys()
    search = content["tuning"]["wrong-20"]
    assert search["tried"].keys() == {"base", "loss-only"}
    assert {len(tried) for tried in search["tried"].values()} == {2}
    assert search["seconds"] > 0
    tuned = evidence.rendered("<!-- study: tuning-scenes-noise -->\n<!-- end -->\n")
    assert tuned.count("**") == 2 * content["finished"]
    table = (tmp_path / "scenes-noise.md").read_text()
    assert "m / n 0.1" in table
    assert "m / n 0.5" in table
    studies.images.cache_clear()
