"""Runs on a Ray cluster of two nodes on this machine: a death, a failure, Ctrl-C, bad input."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: make test-adapters has it")
pytest.importorskip("lightning", reason='Lightning is not installed: pip install ".[train]"')

import ray
from ray.cluster_utils import Cluster

from lossmaxpool.data import Sample, SegmentationDataset, open_dataset
from lossmaxpool.options import DataConfig
from lossmaxpool.runs import RunInterruptedError
from lossmaxpool.runs.folder import LAST
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainConfig, TrainingError, compare, engines, tuning
from tests.training.runs import tiny
from tests.training.test_kill import assert_same_run

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).resolve().parents[2]
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
PATIENCE = 300.0


class Gated(SegmentationDataset):
    """A data set that counts the samples taken by each process.

    After those of five steps it waits for the gate to open.
    """

    def __init__(self, dataset: SegmentationDataset, folder: Path) -> None:
        self.dataset, self.folder, self.name = dataset, folder, dataset.name
        self.labels = dataset.labels

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        with (self.folder / f"{os.getpid()}.taken").open("a") as log:
            log.write(".")
            if log.tell() > 20:
                wait_until((self.folder / "open").exists)
        return self.dataset[index]

    def mask(self, index: int) -> Any:
        return self.dataset.mask(index)

    def sample_name(self, index: int) -> str:
        return self.dataset.sample_name(index)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"nothing after {PATIENCE} s"
        time.sleep(0.05)


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do something while the block waits for its runs."""
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that trains, too; started as a task of SLURM, as clusters often are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Its processes import this file.
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        patch.setenv("SLURM_NTASKS", "2")
        patch.setenv("SLURM_JOB_NAME", "cluster")
        started = Cluster(initialize_head=True, head_node_args=NODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", started.address)
        yield started
    started.shutdown()


@pytest.fixture(scope="module")
def connected(cluster: Cluster) -> Iterator[None]:
    """A connection that the engine finds; the processes of the nodes stay for the next test."""
    ray.init(cluster.address, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def gated(tmp_path: Path) -> dict[str, Any]:
    """The data sets of ``tiny`` for ``compare``, the first behind a gate."""
    folder = tmp_path / "gate"
    folder.mkdir()
    train_set = Gated(open_dataset(tiny().data, "train"), folder)
    return {"train_set": train_set, "val_set": open_dataset(tiny().data, "val")}


def config() -> TrainConfig:
    # Images that are kept would not pass the gate again.
    return replace(tiny(cache=False), data=DataConfig())


def test_a_run_whose_node_dies_goes_on_elsewhere(cluster, gated, tmp_path, capfd) -> None:
    gate, methods = gated["train_set"].folder, ["base", "loss-only"]
    node = cluster.add_node(**NODE)
    out = tmp_path / "out"

    def kill() -> None:
        wait_until(lambda: all((out / f"{name}-seed0" / LAST).exists() for name in methods))
        cluster.remove_node(node, allow_graceful=False)
        (gate / "open").touch()

    with beside(kill):
        runs = compare(config(), methods, [0], out, engine="ray", **gated)
    own = gate / f"{os.getpid()}.taken"  # which looks at the first image alone
    taken = {path.name: path.stat().st_size for path in gate.glob("*.taken") if path != own}
    told = capfd.readouterr().err
    whole = compare(config(), methods, [0], tmp_path / "whole", **gated)
    for run, expected in zip(runs, whole, strict=True):
        assert_same_run(run, expected)
    assert [told.count(f"-seed0 {how} on ") for how in ("begins", "goes on")] == [2, 1]
    assert "2 of 2 runs finished" in told
    # The survivor has trained its own run and the rest of the other.
    assert len(taken) == 2
    assert max(taken.values()) < own.stat().st_size
    assert not list(out.glob(".ray-*"))


@pytest.mark.usefixtures("connected")
def test_ctrl_c_leaves_checkpoints_to_go_on_from(cluster, gated, tmp_path, capfd) -> None:
    gate, methods = gated["train_set"].folder, ["base", "loss-only"]
    out, logs = tmp_path / "out", Path(cluster.head_node.get_session_dir_path()) / "logs"

    def stopping() -> bool:
        return any("stopping after" in path.read_text() for path in logs.glob("worker-*.err"))

    def press() -> None:
        wait_until((out / "base-seed0" / LAST).exists)
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(stopping)
        (gate / "open").touch()

    with (
        beside(press),
        pytest.raises(RunInterruptedError, match="interrupted with 0 of 2 runs finished; --resume"),
    ):
        compare(config(), methods, [0], out, engine="ray", **gated)
    assert RunRecord.read(out / "base-seed0").status == "interrupted"
    runs = compare(config(), methods, [0], out, engine="ray", resume=True, **gated)
    whole = compare(config(), methods, [0], tmp_path / "whole", **gated)
    for run, expected in zip(runs, whole, strict=True):
        assert_same_run(run, expected)


@pytest.mark.usefixtures("connected")
def test_a_failure_is_reported_and_the_others_are_trained(tmp_path, capfd) -> None:
    own = replace(tiny(), losses={"base": {"lr": 1e30}})
    with pytest.raises(TrainingError, match=r"^the loss is nan at step|^\d+ weights are NaN"):
        compare(own, ["base", "loss-only"], [0], tmp_path, engine="ray", jobs=1)
    assert RunRecord.read(tmp_path / "loss-only-seed0").finished
    told = capfd.readouterr().err
    assert "base-seed0 failed: " in told
    assert "Traceback" not in told


@pytest.mark.usefixtures("connected")
def test_rates_are_tried_on_the_nodes(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(tuning, "FACTORS", (1.0, 1e32))
    out = tmp_path / "out"
    (run,) = compare(tiny(), ["base"], [0], out, engine="ray", tune_lr=True, tune_steps=2)
    assert RunRecord.read(run).config["optimization"]["lr"] == tiny().optimization.lr
    assert "2 of 2 rates finished" in capfd.readouterr().err
    assert "1e+30: not finite" in tuning.tuning_table(out)


@pytest.mark.usefixtures("connected")
def test_a_node_that_does_not_see_the_folder(tmp_path, monkeypatch) -> None:
    @contextmanager
    def elsewhere(out: Path) -> Iterator[Path]:
        yield out / "not" / "there"

    monkeypatch.setattr(engines, "_landmark", elsewhere)
    with pytest.raises(TrainingError, match=r"does not see .* on a file system that all nodes"):
        compare(tiny(), ["base", "loss-only"], [0], tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ({"threads": 64, "workers": 2}, "a run needs 66 CPUs and 0 GPUs on one node, and the nod"),
        ({"accelerator": "gpu"}, "a run needs 1 CPUs and 1 GPUs on one node"),
        ({"accelerator": "tpu"}, "accelerator is tpu: on Ray expected one of auto, cpu"),
    ],
)
def test_a_cluster_without_what_a_run_needs(hardware, message, tmp_path) -> None:
    with pytest.raises(TrainingError, match=message):
        compare(tiny(**hardware), ["base"], [0], tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "ray://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer(address, tmp_path, monkeypatch) -> None:
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(TrainingError, match=f"^there is no Ray cluster at RAY_ADDRESS={address} "):
        compare(tiny(), ["base"], [0], tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()
