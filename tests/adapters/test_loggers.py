"""Curves in Weights & Biases and MLflow, both offline: one run there for every run here."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason='Lightning is not installed: pip install ".[train]"')

from lossmaxpool.runs import RunInterruptedError
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainConfig, TrainingError, compare, train
from tests.training.runs import tiny
from tests.training.test_resume import press_ctrl_c_in_step

pytestmark = pytest.mark.filterwarnings("ignore")
METHODS = ["base", "loss-only"]
SCALARS = {"loss", "cross_entropy", "learning_rate", "miou", "pixel_accuracy"}


def config(logger: str) -> TrainConfig:
    base = tiny()
    return replace(
        base,
        optimization=replace(base.optimization, steps=2),
        reporting=replace(base.reporting, loggers=[logger]),
    )


def test_wandb_has_a_run_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: make test-adapters has it")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for run in compare(config("wandb"), METHODS, [0], tmp_path / "out"):
        (log,) = run.glob("wandb/offline-run-*/run-*.wandb")
        wanted = {*SCALARS, run.name, "lossmaxpool"}
        # A service of its own writes the file, and may do so after the run has ended.
        for _ in range(600):
            content = log.read_bytes()
            if missing := {key for key in wanted if key.encode() not in content}:
                time.sleep(0.1)
            else:
                break
        assert not missing
    assert wandb.run is None


def test_a_server_that_does_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed: make test-adapters has it")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrainingError, match=r"^reporting\.loggers has mlflow, which fails with"):
        train(config("mlflow"), tmp_path / "run")
    # Nothing is lost: the corrected command may use the folder.
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert train(config("mlflow"), tmp_path / "run").finished


@pytest.mark.parametrize("shared", [False, True])
def test_mlflow_has_a_run_for_each(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip(
        "mlflow", reason="mlflow is not installed: make test-adapters has it"
    )
    store = (tmp_path / "store").as_uri()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    if shared:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "streets")
    runs = compare(config("mlflow"), METHODS, [0], tmp_path / "out")
    for run in runs:
        client = mlflow.MlflowClient(store if shared else (run / "mlruns").as_uri())
        experiment = client.get_experiment_by_name("streets" if shared else "lossmaxpool")
        found = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
        assert found.keys() == ({each.name for each in runs} if shared else {run.name})
        own = found[run.name]
        assert own.info.status == "FINISHED"
        assert own.data.metrics.keys() == SCALARS
        assert own.data.metrics["loss"] == pytest.approx(RunRecord.read(run).curve[-1].loss)


def test_an_interrupted_run_is_killed_in_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip(
        "mlflow", reason="mlflow is not installed: make test-adapters has it"
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    press_ctrl_c_in_step(monkeypatch, 1)
    with pytest.raises(RunInterruptedError):
        train(config("mlflow"), tmp_path / "run")
    client = mlflow.MlflowClient((tmp_path / "run" / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("lossmaxpool")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
