"""AdamW, clipped gradients, averaged weights and loggers: what other recipes train with."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lossmaxpool.runs.config import TrainConfig
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainingError, train
from lossmaxpool.training.building import build_optimizer, new_average
from tests.training.runs import tiny, weights
from tests.training.test_resume import assert_resumed_is_whole


def recipe(**reporting: Any) -> TrainConfig:
    base = tiny()
    return replace(
        base,
        optimization=replace(
            base.optimization, optimizer="adamw", lr=1e-3, clip_norm=0.5, ema=0.9, weight_decay=0.01
        ),
        reporting=replace(base.reporting, **reporting),
    )


def test_a_resumed_run_has_the_same_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(loggers=["csv", "tensorboard"])
    assert_resumed_is_whole(config, tmp_path, monkeypatch, step=4)
    records = [RunRecord.read(tmp_path / name) for name in ("run", "whole")]
    assert records[0].curve == records[1].curve
    assert records[0].evaluations == records[1].evaluations
    # evaluate and predict load the averaged weights, not the trained ones.
    content = torch.load(tmp_path / "whole" / "checkpoints/last.ckpt", weights_only=True)
    trained = content["trained"]
    averaged = {name.removeprefix("model."): v for name, v in weights(tmp_path / "whole").items()}
    assert averaged.keys() == trained.keys()
    assert any(not torch.equal(averaged[name], trained[name]) for name in trained)
    # The two sessions have a file each; neither has lost the other's.
    sessions = sorted((tmp_path / "run" / "csv").glob("*/metrics.csv"))
    rows = [list(csv.DictReader(path.read_text().splitlines())) for path in sessions]
    assert len(rows) == 2
    assert {row["step"] for each in rows for row in each} >= {"1", "8"}


def test_an_average_forgets_the_first_weights_fast() -> None:
    config = recipe()
    model = nn.Linear(1, 1, bias=False)
    average = new_average(config, model)
    assert average is not None
    expected = 0.0
    for number, value in enumerate((1.0, 2.0, 4.0)):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        kept = min(0.9, (1 + number) / (10 + number)) if number else 0.0
        expected = kept * expected + (1 - kept) * value
    assert average.module.weight.item() == pytest.approx(expected)
    assert new_average(tiny(), model) is None


def test_adamw_decays_by_itself() -> None:
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(recipe(), model)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01]
    assert isinstance(build_optimizer(tiny(), model), torch.optim.SGD)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_one_line(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed here")
    with pytest.raises(TrainingError, match=f"pip install {name}, or leave it out"):
        train(recipe(loggers=[name]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="loggers"):
        recipe(loggers=["tensorbord"])
