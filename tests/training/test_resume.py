from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lossmaxpool.processes import postponed_interrupt
from lossmaxpool.runs import CheckpointError, RunInterruptedError
from lossmaxpool.runs.config import LossConfig, OptimizationConfig, ScheduleConfig, TrainConfig
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainingError, loop, train
from lossmaxpool.training.checkpoints import CONFIGURATION, LAST
from lossmaxpool.training.criteria import build_criterion, loss_schedule
from tests.training.runs import assert_same_weights, tiny


def press_ctrl_c_in_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    original = loop.rate_factor

    def rate_factor(number: int, optimization: OptimizationConfig) -> float:
        if number == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(number, optimization)

    monkeypatch.setattr(loop, "rate_factor", rate_factor)


def assert_resumed_is_whole(
    config: TrainConfig, folder: Path, monkeypatch: pytest.MonkeyPatch, *, step: int
) -> None:
    """Train ``folder / "whole"``, and ``folder / "run"`` with Ctrl-C in a step: equal weights."""
    train(config, folder / "whole")
    with monkeypatch.context() as patch:
        press_ctrl_c_in_step(patch, step)
        with pytest.raises(RunInterruptedError, match=f"interrupted after step {step} "):
            train(config, folder / "run")
    train(config, folder / "run", resume=True)
    assert_same_weights(folder / "run", folder / "whole")


# 1: before any checkpoint was due. 3: an evaluation follows. 4: a checkpoint was due anyway.
@pytest.mark.parametrize("step", [1, 3, 4])
def test_resumed_is_never_interrupted(
    step: int, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        press_ctrl_c_in_step(patch, step)
        with pytest.raises(RunInterruptedError, match=f"interrupted after step {step} of 8"):
            train(tiny(), folder)
    assert RunRecord.read(folder).status == "interrupted"

    # Loaded by two workers instead of none: the batches are the same.
    resumed = train(tiny(workers=2), folder, resume=True)
    assert_same_weights(folder, finished)
    whole = RunRecord.read(finished)
    assert resumed.status == "finished"
    assert resumed.curve == whole.curve
    assert resumed.evaluations == whole.evaluations
    assert resumed.confusion == whole.confusion
    assert resumed.calibration == whole.calibration
    assert resumed.evolution == whole.evolution


def test_the_second_ctrl_c_says_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    with postponed_interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        assert "Ctrl-C again stops at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert "stopped at once: the steps after the last checkpoint" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_asks_for_a_checkpoint_too(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with postponed_interrupt() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.requested
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert "stopping after this step" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_background_job_goes_on_ignoring_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with postponed_interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert not interrupt.requested
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == ""


def test_half_written_files_are_swept_when_a_run_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    one_step = replace(tiny(), optimization=replace(tiny().optimization, steps=1))
    train(one_step, folder)
    left = [folder / name for name in (".record.json.0a.partial", "evolution/.0.png.0b.partial")]
    for path in left:
        path.write_bytes(b"half")
    train(one_step, folder, resume=True)
    assert not list(folder.rglob("*.partial"))


def test_a_start_that_failed_can_be_resumed(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "rate_factor", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(tiny(), folder)
    assert RunRecord.read(folder).status == "failed"
    train(tiny(), folder, resume=True)
    assert_same_weights(folder, finished)


def test_the_handler_of_ctrl_c_is_given_back(finished: Path) -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_configuration_is_refused(finished: Path) -> None:
    config = tiny()
    other = replace(config, optimization=replace(config.optimization, lr=0.5))
    with pytest.raises(TrainingError, match=r"optimization\.lr: 0\.01 -> 0\.5"):
        train(other, finished, resume=True)


def test_the_checkpoint_of_another_run_is_refused(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = tiny()
    shorter = replace(config, optimization=replace(config.optimization, steps=1))
    train(shorter, folder)
    shutil.copy(finished / LAST, folder / LAST)
    with pytest.raises(TrainingError, match=r"that of a run .* \(optimization\.steps: 8 -> 1\)"):
        train(shorter, folder, resume=True)


def test_a_checkpoint_that_does_not_say_whose_it_is_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = replace(tiny(), optimization=replace(tiny().optimization, steps=1))
    train(config, folder)
    content = torch.load(folder / LAST, weights_only=True)
    del content[CONFIGURATION]
    torch.save(content, folder / LAST)
    with pytest.raises(TrainingError, match="does not say of which run it is"):
        train(config, folder, resume=True)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.putenv, ("LOSSMAXPOOL_EXECUTED", "1")


@pytest.mark.parametrize("kind", ["code", "damaged"])
def test_a_bad_checkpoint_is_refused(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(replace(tiny(), optimization=replace(tiny().optimization, steps=1)), folder)
    if kind == "code":
        torch.save({"state_dict": Payload()}, folder / LAST)
    else:
        (folder / LAST).write_bytes((folder / LAST).read_bytes()[:1000])
    one_step = replace(tiny(), optimization=replace(tiny().optimization, steps=1))
    with pytest.raises(CheckpointError, match=r"last\.ckpt is (refused|damaged)"):
        train(one_step, folder, resume=True)


def test_schedules_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = LossConfig(
        p=1.1,
        p_schedule=ScheduleConfig("cosine", 3.0),
        min_support_schedule=ScheduleConfig("linear", 1.0, steps=5),
    )
    config = replace(tiny(), loss=loss)
    assert_resumed_is_whole(config, tmp_path, monkeypatch, step=5)
    curves = [RunRecord.read(tmp_path / name).curve for name in ("run", "whole")]
    assert curves[0] == curves[1]
    other = replace(loss, p_schedule=ScheduleConfig("cosine", 2.0))
    with pytest.raises(TrainingError, match=r"loss\.p_schedule\.start: 3\.0 -> 2\.0"):
        train(replace(config, loss=other), tmp_path / "run", resume=True)


def test_the_steps_of_a_run_see_the_values_of_its_schedule() -> None:
    loss = LossConfig(p=1.1, min_support_schedule=ScheduleConfig("linear", 1.0))
    config = replace(tiny(), loss=loss)
    pixels = torch.ones(1, 3, dtype=torch.int64)
    criterion = build_criterion(config.chosen.criterion, loss, pixels)
    schedule = loss_schedule(config, criterion, step=4)
    assert schedule is not None
    pooled = next(m for m in criterion.modules() if hasattr(m, "min_support"))
    assert pooled.min_support == pytest.approx((1.0 + 0.25) / 2)
    assert pooled.p == 1.1
    base = replace(config, method="base")
    assert loss_schedule(base, build_criterion(base.chosen.criterion, loss, pixels), 0) is None
