"""Every method finds its own learning rate, on a part of the training split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainConfig, TrainingError, compare, tuning
from lossmaxpool.training.tuning import TUNING, tuning_table
from tests.training.runs import tiny


def short(lr: float = 0.01) -> TrainConfig:
    base = tiny()
    return replace(base, optimization=replace(base.optimization, steps=2, lr=lr))


def test_each_method_trains_at_the_rate_that_served_it_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = (0.1, 1.0, 10.0)  # fewer runs
    monkeypatch.setattr(tuning, "FACTORS", factors)
    out, methods = tmp_path / "out", ["base", "focal"]
    config = replace(short(), losses={"focal": {"lr": 0.2, "label": "Focal loss"}})
    folders = compare(config, methods, [3], out, tune_lr=True, tune_steps=1)
    tried = json.loads((out / TUNING).read_text())["tried"]
    assert [lr for lr, _ in tried["base"]] == pytest.approx([0.01 * f for f in factors])
    assert [lr for lr, _ in tried["focal"]] == pytest.approx([0.2 * f for f in factors])
    for method, folder in zip(methods, folders, strict=True):
        record = RunRecord.read(folder)
        scores = dict(map(tuple, tried[method]))
        assert scores[record.config["optimization"]["lr"]] == max(scores.values())
        assert record.evaluations[-1].step == 2
    assert RunRecord.read(folders[1]).label == "Focal loss"
    for run in (out / "tuning").iterdir():
        record = RunRecord.read(run)
        # Six training images in all; the validation split is not among them.
        assert (record.data.train_images, record.data.val_images) == (5, 1)
        assert record.evaluations[-1].step == 1
    assert tuning_table(out).count("*") == 1 + len(methods)
    # A finished search is not repeated, and gives the same rates.
    before = (out / TUNING).stat().st_mtime_ns
    assert compare(config, methods, [3], out, tune_lr=True, resume=True) == folders
    assert (out / TUNING).stat().st_mtime_ns == before
    with pytest.raises(TrainingError, match="is not empty"):
        compare(config, methods, [3], out, tune_lr=True)


def test_a_method_that_diverges_at_every_rate_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the loss of base is finite at none of the rates"):
        compare(short(1e30), ["base"], [0], tmp_path / "out", tune_lr=True, tune_steps=2)
    with pytest.raises(TrainingError, match="nothing to resume"):
        compare(short(), ["base"], [0], tmp_path / "none", tune_lr=True, resume=True)


def test_no_table_without_rates(tmp_path: Path) -> None:
    assert tuning_table(tmp_path) == ""
