"""The day with a GPU goes on where it was cut off, and no case stops the next."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.gpu_day import Stage, begun, go_on, store
from torch import nn

from benchmarks import gpu_day

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "device": "a chip", "torch": "2", "triton": "3", "lossmaxpool": "1", "ops_digest": "ab"
}  # fmt: skip
WORKER = """
import json, os, sys, time
for name in sys.argv[2:]:
    with open(sys.argv[1], "a") as log:
        log.write(name + "\\n")
    if name == "dies":
        os._exit(3)
    if name == "hangs":
        time.sleep(600)
    print("some words", flush=True)
    print(json.dumps({"name": name, "ok": name != "wrong"}), flush=True)
"""
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str, Sequence[str]], list[str]]:
    """A worker that writes down what it begins."""
    return lambda kind, cases: [sys.executable, "-c", WORKER, str(tmp_path / "begun"), *cases]


def empty() -> dict[str, Any]:
    return {"environment": ENVIRONMENT, "results": {}}


def test_no_case_stops_the_next(command: Any, tmp_path: Path) -> None:
    names = ["a", "wrong", "dies", "b"]
    day = [Stage("one", names, 0.0, 100.0), Stage("two", ["hangs"], 0.0, 0.5)]
    day.append(Stage("three", ["c"], 0.0, 100.0))
    content, kept = empty(), tmp_path / "kept.json"
    left = go_on(day, content, lambda: store(kept, content), 300.0, command)
    assert left == 0
    results = json.loads(kept.read_text())["results"]
    assert {name: x["ok"] for name, x in results["one"].items()} == {
        "a": True, "wrong": False, "dies": False, "b": True
    }  # fmt: skip
    assert "without a result" in results["one"]["dies"]["error"]
    assert "longer than" in results["two"]["hangs"]["error"]
    assert results["three"]["c"]["ok"]


def test_processes_share_the_cases_of_a_stage(command: Any) -> None:
    names = ["a", "wrong", "dies", "b", "c"]
    content = empty()
    assert go_on([Stage("one", names, 0.0, 100.0, 3)], content, lambda: None, 300.0, command) == 0
    found = {name: x["ok"] for name, x in content["results"]["one"].items()}
    assert found == {"a": True, "wrong": False, "dies": False, "b": True, "c": True}


def test_a_call_goes_on_behind_the_last_case(command: Any, tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    content = empty()
    assert go_on([Stage("one", names, 100.0, 100.0)], content, lambda: None, 50.0, command) == 3
    assert not (tmp_path / "begun").exists()  # no case fits the budget
    content["results"]["one"] = {"a": {"ok": False}}
    assert go_on([Stage("one", names, 0.0, 100.0)], content, lambda: None, 300.0, command) == 0
    assert (tmp_path / "begun").read_text().split() == ["b", "c"]


def test_a_case_that_the_budget_cuts_off_has_not_failed(command: Any) -> None:
    content, day = empty(), [Stage("one", ["hangs"], 0.0, 600.0)]
    assert go_on(day, content, lambda: None, 0.5, command) == 1
    assert content["results"]["one"] == {}


def test_results_of_another_device_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    assert begun(path, ENVIRONMENT, fresh=False)["results"] == {}
    store(path, empty() | {"results": {"smoke": {"a": {"ok": True}}}})
    assert begun(path, ENVIRONMENT, fresh=False)["results"]["smoke"]
    with pytest.raises(SystemExit, match="begun with device a chip, this is another"):
        begun(path, ENVIRONMENT | {"device": "another"}, fresh=False)
    assert begun(path, ENVIRONMENT | {"device": "another"}, fresh=True)["results"] == {}
    with pytest.raises(SystemExit, match="begun with ops_digest ab, this is cd"):
        begun(path, ENVIRONMENT | {"ops_digest": "cd"}, fresh=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_day"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "torch sees no GPU" in done.stderr.splitlines()[-1]


@needs_triton
def test_smoke_cases_run_in_the_interpreter() -> None:
    names = ["1 x 2 pixels", "upsampled line", "no such case"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu_work", "smoke", *names],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-2000:]
    found = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert [found[name]["ok"] for name in names] == [True, True, False], found
    assert "KeyError" in found["no such case"]["error"]


@needs_triton
def test_every_stage_has_cases_that_fit_a_call() -> None:
    gpu_work = pytest.importorskip("benchmarks.gpu_work")
    day = gpu_day.stages()
    assert [stage.kind for stage in day][:3] == ["smoke", "compile", "benchmark"]
    timed = [stage for stage in day if stage.kind in ("benchmark", "kernels", "training")]
    assert all(stage.workers == 1 for stage in timed)
    for stage in day:
        assert stage.cases
        assert len(set(stage.cases)) == len(stage.cases)
        assert stage.kind in gpu_work.KINDS
        assert stage.expected < stage.limit < 600  # a call has ten minutes
    assert all((ROOT / path).exists() for path in gpu_work.TESTS)


@needs_triton
def test_the_profiler_is_given_every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.interpreter import InterpretedFunction
    from triton.runtime.jit import JITFunction

    gpu_work = pytest.importorskip("benchmarks.gpu_work")
    package = importlib.import_module("lossmaxpool.ops.backends.triton")
    jitted = set()
    for found in pkgutil.iter_modules(package.__path__):
        for value in vars(importlib.import_module(f"{package.__name__}.{found.name}")).values():
            if isinstance(value, JITFunction | InterpretedFunction):
                jitted.add(value.__name__)
    launched = {name for name in jitted if name.endswith("_kernel")}
    assert launched > {"sift_kernel", "terms_kernel", "weigh_kernel"}
    given: list[str] = []

    def again(tool: list[str], *_: str) -> subprocess.CompletedProcess[str]:
        given.extend(tool)
        return subprocess.CompletedProcess(tool, 0, stdout="")

    monkeypatch.setattr(gpu_work.shutil, "which", lambda name: name)
    monkeypatch.setattr(gpu_work, "_again", again)
    assert not gpu_work.ncu("a case", torch.device("cpu"))["ok"]  # it counted nothing
    pattern = re.compile(given[given.index("-k") + 1].removeprefix("regex:"))
    assert {name for name in jitted if pattern.search(name)} == launched
    assert not pattern.search("vectorized_elementwise_kernel")


@pytest.mark.parametrize("kind", ["compile", "kernels"])
def test_every_contender_of_a_case_is_called(kind: str) -> None:
    gpu_work = pytest.importorskip("benchmarks.gpu_work")
    result = gpu_work.KINDS[kind]("scaling 1x1x1x65536 float32 default", torch.device("cpu"))
    if kind == "compile":
        assert result["ok"]
    else:  # no kernel runs on a device, and the result says that nothing was measured
        assert result["us"] == dict.fromkeys(("lmp", "lmp_by_sort", "top_k", "kthvalue"), 0)
        assert not result["ok"]


@pytest.mark.parametrize("name", ["ours", "cross-entropy"])
def test_the_share_of_the_loss_in_a_step(name: str) -> None:
    gpu_work = pytest.importorskip("benchmarks.gpu_work")
    network = nn.Conv2d(3, gpu_work.CLASSES, 3, stride=8, padding=1)
    found = gpu_work.train(name, network, (1, 16), 2, torch.device("cpu"))
    assert 0 < found["loss_ms"] < found["step_ms"]
    assert found["share"] < 1
