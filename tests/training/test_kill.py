"""Killed without a warning at any moment and resumed, a run ends as if nothing had happened."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lossmaxpool.atomic import write_atomically
from lossmaxpool.processes import end_with_parent
from lossmaxpool.runs import RunInterruptedError
from lossmaxpool.runs.config import OptimizationConfig
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainConfig, checkpoints, loop, train
from lossmaxpool.training.checkpoints import BEST, LAST, NEXT, kept_checkpoints, kept_name
from lossmaxpool.training.progress import ProgressReport
from tests.training.runs import assert_same_weights, tiny
from tests.training.test_resume import press_ctrl_c_in_step

# Processes that fork from one that has imported everything, and has no threads to lose.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.training.test_kill"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of lmp that nobody has stopped; not to be written to."""
    folder = tmp_path_factory.mktemp("whole") / "lmp"
    train(config(0), folder)
    return folder


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(folder: Path, workers: int, moment: str, step: int, resume: bool) -> None:
    """Train until ``moment`` of a step (from 1)."""
    end_with_parent()
    if moment == "step":
        rate_factor = loop.rate_factor

        def begin_step(number: int, optimization: OptimizationConfig) -> float:
            if number == step - 1:
                die()
            return rate_factor(number, optimization)

        loop.rate_factor = begin_step
    elif moment == "evaluation":

        def evaluating(self: ProgressReport, step: int, done: int, total: int) -> None:
            if self.record.curve[-1].step == step and done == 2:
                die()

        ProgressReport.evaluating = evaluating  # type: ignore[method-assign]
    else:  # a checkpoint, half written: the one to resume from, or that of an evaluation
        names = {"checkpoint": (LAST, NEXT), "keeping": (kept_name(step),)}[moment]

        def write(path: Path, content: bytes) -> None:
            if str(path.relative_to(folder)) in names and step_of(content) == step:
                path.with_name(f"{path.name}.partial").write_bytes(content[: len(content) // 2])
                die()
            write_atomically(path, content)

        checkpoints.write_atomically = write
    train(config(workers), folder, resume=resume)


def config(workers: int) -> TrainConfig:
    """Its crops follow the IoU, and it keeps the checkpoints of its three evaluations."""
    base = tiny("lmp", workers=workers)
    return replace(base, reporting=replace(base.reporting, keep_checkpoints=3))


def step_of(content: bytes) -> int:
    return int(torch.load(io.BytesIO(content), weights_only=True)["global_step"])


def kill(folder: Path, workers: int, moment: str, step: int, *, resume: bool = False) -> None:
    process = PROCESSES.Process(target=train_and_die, args=(folder, workers, moment, step, resume))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def assert_same_run(folder: Path, whole: Path) -> None:
    """Weights, momentum, sampler, curve, metrics and checkpoints, bit for bit."""
    assert_same_weights(folder, whole)
    ours, theirs = (torch.load(run / LAST, weights_only=True) for run in (folder, whole))
    for key in ("optimizer", "sampler", "running_iou", "global_step"):
        assert plain(ours[key]) == plain(theirs[key])
    names = [
        [path.name for path in sorted((run / LAST).parent.iterdir())] for run in (folder, whole)
    ]
    assert names[0] == names[1]
    assert not list(folder.rglob("*.partial"))
    for name in (BEST, *(f"checkpoints/{path.name}" for path in kept_checkpoints(whole))):
        assert_same_weights(folder, whole, name)
    record, expected = RunRecord.read(folder), RunRecord.read(whole)
    # Times and the number of workers differ; nothing else does.
    own = {"seconds": 0, "waiting": None, "config": {}, "environment": {}}
    assert replace(record, **own) == replace(expected, **own)


def plain(state: Any) -> Any:
    """A state with each tensor as its bits: NaN, of an undefined IoU, equals itself there."""
    if isinstance(state, torch.Tensor):
        return state.dtype, tuple(state.shape), state.numpy().tobytes()
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    return [plain(value) for value in state] if isinstance(state, list | tuple) else state


@pytest.mark.parametrize(
    ("moment", "step", "workers"),
    [
        ("step", 1, 0),  # nothing is saved yet
        ("step", 4, 1),  # the latest checkpoint is of step 3, after an evaluation
        ("step", 8, 0),  # the sampler has just taken up an IoU
        ("evaluation", 6, 0),
        ("checkpoint", 4, 0),
        ("checkpoint", 6, 0),  # after an evaluation
        ("keeping", 3, 0),
        ("keeping", 8, 1),
    ],
)
def test_a_killed_run_ends_as_the_whole_one(
    moment: str, step: int, workers: int, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    kill(folder, workers, moment, step)
    train(config(1 - workers), folder, resume=True)
    assert_same_run(folder, whole)


def test_a_run_killed_again_and_again_ends_as_the_whole_one(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    kill(folder, 0, "step", 3)
    kill(folder, 0, "checkpoint", 6, resume=True)
    kill(folder, 1, "step", 7, resume=True)
    train(config(0), folder, resume=True)
    assert_same_run(folder, whole)


@pytest.mark.parametrize("step", [1, 3, 4, 7])
def test_an_interrupted_run_ends_as_the_whole_one(
    step: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        press_ctrl_c_in_step(patch, step)
        with pytest.raises(RunInterruptedError, match=f"interrupted after step {step} of 8"):
            train(config(0), folder)
    train(config(1), folder, resume=True)
    assert_same_run(folder, whole)
