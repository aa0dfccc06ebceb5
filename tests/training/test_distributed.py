"""Two processes are one with the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml

from lossmaxpool.runs.config import DiagnosticsConfig
from lossmaxpool.runs.record import SUSPECTS, RunRecord
from lossmaxpool.training import TrainConfig, TrainingError, train
from lossmaxpool.training.checkpoints import LAST
from lossmaxpool.training.hardware import make_fabric
from tests.tolerances import FROM_LOGITS, PIXELS
from tests.training.runs import assert_same_weights, tiny, weights

Launcher = Callable[[], list[tuple[list[str], dict[str, str]]]]
COMMAND = "import sys; from lossmaxpool.cli import main; sys.exit(main())"
# The second process alone is told to stop, in the fourth step.
INTERRUPTED = """
import os, signal
from lossmaxpool.training import loop
factor = loop.rate_factor
def rate_factor(step, optimization):
    if step == 3 and os.environ.get("LOCAL_RANK") == "1":
        os.kill(os.getpid(), signal.SIGTERM)
    return factor(step, optimization)
loop.rate_factor = rate_factor
"""


def config(devices: int) -> TrainConfig:
    """A network that knows nothing of the rest of its batch: no batch statistics, no dropout."""
    base = tiny("lmp", devices=devices, strategy="ddp" if devices > 1 else "auto")
    model = replace(
        base.model, architecture="DeepLabV2", decoder_options={}, frozen_batch_norm=True
    )
    looks = DiagnosticsConfig(every=2, suspects=3, suspects_after=0.0)
    return replace(base, model=model, diagnostics=looks)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after its fourth step, and resumed."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "ddp.yaml").write_text(yaml.safe_dump(config(2).to_dict()))
    # Lightning starts the second process by repeating the command line of the first one.
    for script, words, status in (
        (INTERRUPTED + COMMAND, ["--config", "ddp.yaml"], 130),
        (COMMAND, ["--resume"], 0),
    ):
        (folder / "run.py").write_text(script)
        result = subprocess.run(
            [sys.executable, "run.py", "train", *words, "--out", "out"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == status, result.stderr
        assert ("interrupted after step 4 of 8" in result.stderr) == (status == 130)
    assert result.stdout.count("pixel accuracy") == 1
    return folder / "out"


def torchrun() -> list[tuple[list[str], dict[str, str]]]:
    """One command, which starts both processes."""
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [([*words, "-m", "lossmaxpool"], {})]


def srun() -> list[tuple[list[str], dict[str, str]]]:
    """The processes that srun starts: one command twice, with the rank in the environment."""
    job = {
        "SLURM_JOB_ID": str(10_000 + os.getpid() % 10_000),  # Lightning chooses the port by it
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NODELIST": "localhost",
        "SLURM_NODEID": "0",
    }
    return [
        (["-m", "lossmaxpool"], job | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank})
        for rank in ("0", "1")
    ]


@pytest.mark.parametrize("launcher", [torchrun, srun])
def test_neither_a_launcher_nor_an_interruption_changes_anything(
    launcher: Launcher, two: Path, tmp_path: Path
) -> None:
    (tmp_path / "ddp.yaml").write_text(yaml.safe_dump(config(2).to_dict()))
    words = ["train", "--config", "ddp.yaml", "--out", "out"]
    started = [
        subprocess.Popen(
            [sys.executable, *command, *words],
            cwd=tmp_path,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command, environment in launcher()
    ]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert_same_weights(tmp_path / "out", two)
    ours, theirs = RunRecord.read(tmp_path / "out"), RunRecord.read(two)
    assert (ours.curve, ours.confusion) == (theirs.curve, theirs.confusion)
    assert (ours.weights, ours.suspects) == (theirs.weights, theirs.suspects)
    assert (tmp_path / "out" / SUSPECTS).read_text() == (two / SUSPECTS).read_text()


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "1",
    "WORLD_SIZE": "2",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "GROUP_RANK": "0",
    "LOCAL_WORLD_SIZE": "2",
}
SLURM = {"SLURM_NTASKS": "3", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


# Under "srun torchrun" the variables of both launchers are set: those of torchrun count.
@pytest.mark.parametrize(
    ("environment", "started"),
    [
        (TORCHRUN, "torchrun has started 2"),
        (SLURM | {"SLURM_NTASKS_PER_NODE": "3"}, "SLURM has started 3"),
        (SLURM | TORCHRUN, "torchrun has started 2"),
    ],
)
def test_processes_that_would_not_know_each_other_are_refused(
    environment: dict[str, str], started: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    message = f"{started} processes, and hardware.devices auto .* makes 1: give"
    with pytest.raises(TrainingError, match=message):
        train(tiny(devices="auto"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_job_that_lightning_cannot_serve_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match=r"Lightning refuses .*ntasks-per-node=3"):
        train(tiny(devices="auto"), tmp_path / "run")


def test_a_process_without_a_validation_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="1 validation images for 2 processes"):
        make_fabric(config(2), val_images=1)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "out"
    train(config(1), folder)
    return folder


def test_two_processes_see_every_validation_image_once(two: Path) -> None:
    # Three images on two processes: the shares are uneven.
    record = RunRecord.read(two)
    assert record.status == "finished"
    assert record.environment["devices"] == 2
    assert record.calibration is not None
    assert sum(record.calibration.pixels) == sum(record.val_pixels)
    assert [sum(row) for row in record.confusion] == record.val_pixels


def test_two_processes_train_as_one_with_the_whole_batch(one: Path, two: Path) -> None:
    for name, expected in weights(one).items():
        scale = expected.abs().max().clamp(min=1e-3)
        torch.testing.assert_close(
            weights(two)[name] / scale, expected / scale, rtol=0, atol=FROM_LOGITS
        )
    found, wanted = RunRecord.read(two), RunRecord.read(one)
    for here, there in zip(found.curve, wanted.curve, strict=True):
        assert asdict(here) == pytest.approx(asdict(there), rel=FROM_LOGITS)


def test_two_processes_feed_the_sampler_as_one_does(one: Path, two: Path) -> None:
    states = []
    for folder in (one, two):
        states.append(torch.load(folder / LAST, weights_only=True))
    assert states[0]["sampler"]["plan"] == states[1]["sampler"]["plan"]
    # Every pixel of both processes' crops is counted.
    matrices = [state["running_iou"]["matrix"] for state in states]
    assert matrices[0].sum() == matrices[1].sum()
    torch.testing.assert_close(matrices[0], matrices[1], rtol=FROM_LOGITS, atol=PIXELS)


def test_two_processes_look_at_their_weights_as_one_does(one: Path, two: Path) -> None:
    found, wanted = RunRecord.read(two), RunRecord.read(one)
    assert [point.step for point in found.weights] == [2, 4, 6, 8]
    for here, there in zip(found.weights, wanted.weights, strict=True):
        for name, value in asdict(there).items():
            # Pixels at the edge of the cap may be counted on either side of it: of 32 x 32 a crop.
            near = pytest.approx(value, rel=FROM_LOGITS, abs=PIXELS / 32**2)
            assert getattr(here, name) == near, name
    # Visited by either process, listed and pictured by the first one.
    assert 0 < len(found.suspects) <= 3
    assert len((two / SUSPECTS).read_text().splitlines()) == 1 + len(found.suspects)
    assert all((two / suspect.picture).is_file() for suspect in found.suspects)
