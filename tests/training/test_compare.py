from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lossmaxpool.runs.methods import METHODS
from lossmaxpool.runs.record import RECORD, RunRecord
from lossmaxpool.training import TrainConfig, TrainingError, compare
from tests.training.runs import assert_same_weights, tiny


def short(steps: int = 2) -> TrainConfig:
    config = tiny()
    return replace(config, optimization=replace(config.optimization, steps=steps))


def test_methods_start_from_the_same_weights_on_the_same_batches(tmp_path: Path) -> None:
    runs = compare(short(), list(METHODS), [0], tmp_path / "out")
    starts = {record.method: record.curve[0] for record in map(RunRecord.read, runs)}
    # Same weights, same crops, same dropout: same bits. The sampler's crops are others.
    by_class = {method for method in METHODS if METHODS[method].sampler}
    sampled = {starts[method].cross_entropy for method in by_class}
    uniform = {starts[method].cross_entropy for method in METHODS if method not in by_class}
    assert (len(sampled), len(uniform), len(sampled | uniform)) == (1, 1, 2)
    # At random weights, no class has a probability of 0.7: OHEM keeps every pixel, as BASE does.
    losses = {start.loss for method, start in starts.items() if method != "ohem"}
    assert len(losses) == len(runs) - 1


def test_a_comparison_says_which_run_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    compare(short(), ["base"], [0], out)
    assert "run 1 of" not in capsys.readouterr().err, "there is only one"
    assert yaml.safe_load((out / "compare.yaml").read_text())["methods"] == ["base"]
    compare(short(), ["base", "loss-only", "bootstrap"], [0], out, resume=True)
    told = capsys.readouterr()
    announced = [line for line in told.err.splitlines() if line.startswith("run ")]
    assert announced == [
        "run 2 of 3: loss-only-seed0, 1 finished before",
        "run 3 of 3: bootstrap-seed0",
    ]
    lines = [line for line in told.out.splitlines() if line.startswith("run 2 of 3: ")]
    assert lines[0].endswith(" left in all")


def test_an_interrupted_comparison_keeps_what_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (kept,) = compare(short(), ["base"], [0], out)
    before = (kept / RECORD).stat().st_mtime_ns
    runs = compare(short(), ["base", "loss-only"], [0], out, resume=True)
    assert [run.name for run in runs] == ["base-seed0", "loss-only-seed0"]
    assert (kept / RECORD).stat().st_mtime_ns == before
    with pytest.raises(TrainingError, match=r"optimization\.steps: 2 -> 3"):
        compare(short(3), ["base"], [0], out, resume=True)
    with pytest.raises(TrainingError, match="not empty"):
        compare(short(), ["base"], [0], out)


def test_processes_give_the_bits_of_a_sequence(tmp_path: Path) -> None:
    one = compare(short(), ["base", "loss-only"], [0], tmp_path / "one")
    two = compare(short(), ["base", "loss-only"], [0], tmp_path / "two", jobs=2)
    for a, b in zip(one, two, strict=True):
        assert_same_weights(a, b)


@pytest.mark.parametrize(
    ("methods", "seeds", "message"),
    [
        ([], [0], "methods are"),
        (["base", "base"], [0], "methods are"),
        (["base"], [], "seeds are"),
        (["base"], [1, 1], "seeds are"),
    ],
)
def test_nothing_or_twice_is_refused(
    methods: list[str], seeds: list[int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(short(), methods, seeds, tmp_path / "out")


def test_several_devices_per_run_are_refused(tmp_path: Path) -> None:
    config = replace(short(), hardware=replace(short().hardware, devices=2))
    with pytest.raises(ValueError, match=r"devices is 2 on 1 nodes: .* on one device"):
        compare(config, ["base"], [0], tmp_path / "out")


@pytest.mark.parametrize(
    ("engine", "error", "message"),
    [
        ("ray", TrainingError, r'Ray, which is not installed: pip install "lossmaxpool\[ray\]"'),
        ("rya", ValueError, "engine must be one of 'local', 'ray', got 'rya'"),
    ],
)
def test_an_engine_that_is_not_there(
    engine: str,
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(error, match=message):
        compare(short(), ["base"], [0], tmp_path / "out", engine=engine)
    assert not (tmp_path / "out").exists()
