"""Every kernel compiles for a GPU as a launch would compile it, and keeps to its registers.

Runs with whatever Triton is installed; `make test-triton` takes the oldest that is supported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from benchmarks.instructions import assembler

ROOT = Path(__file__).resolve().parents[3]
COUNTED = ROOT / "benchmarks" / "results" / "kernels-sm90.json"
TRITON = find_spec("triton")
NVIDIA = None if TRITON is None or TRITON.origin is None else Path(TRITON.origin).parent
NVIDIA = None if NVIDIA is None else NVIDIA / "backends" / "nvidia"

pytestmark = [
    pytest.mark.skipif(TRITON is None, reason="triton is not installed"),
    pytest.mark.skipif(
        NVIDIA is None or not (NVIDIA / "bin" / "cuobjdump").exists(),
        reason="this Triton has no compiler and cuobjdump for NVIDIA GPUs",
    ),
]
CAPABILITIES = {90: "Hopper", 100: "Blackwell"}
# Registers a thread. A multiprocessor has 65536 and hides latency by running several programs at
# once. Compilers differ by a tenth; the bounds leave that much room.
REGISTERS = {
    "dense_losses_kernel": 136,  # 128 threads: 3 programs and more
    "dense_gradient_kernel": 168,
    "interleaved_gradient_kernel": 96,
    "upsampled_losses_kernel": 168,
    "terms_kernel": 168,
    "cells_kernel": 168,
    "gather_kernel": 72,
    "count_kernel": 72,
    "sift_kernel": 128,  # 4 programs
    "weigh_kernel": 80,
}
# Class weights together with label smoothing, or a number of classes that has no runs in memory.
RARE = REGISTERS | {
    "dense_losses_kernel": 184,
    "dense_gradient_kernel": 216,
    "interleaved_gradient_kernel": 136,
    "upsampled_losses_kernel": 248,
}
# From logits to the value: the losses, which are counted, and two passes over them.
FORWARD = ["dense_losses_kernel", "sift_kernel", "sift_kernel"]
WIDE = {"dense_losses_kernel", "dense_gradient_kernel", "count_kernel", "weigh_kernel"}
# Bytes of stack a thread, for kernels and cases where time is not lost by them, and for the passes
# of the solver, four programs of which fit a multiprocessor only with some of their numbers there.
A_FEW_NUMBERS, SOME_NUMBERS = 32, 48


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Triton keeps what it has compiled: one folder for all tests and workers."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "triton-cache"


def launches(group: str, capability: int, cache: Path) -> dict[str, list[dict[str, Any]]]:
    """The launches of every case of a group, by the case's name."""
    found = run_compiler(cache, str(capability), group)
    lines = [json.loads(line) for line in found.splitlines()]
    failed = {line["case"]: line["error"][-500:] for line in lines if "error" in line}
    assert not failed, f"do not compile: {failed}"
    assert lines
    return {line["case"]: line["launches"] for line in lines}


def run_compiler(cache: Path, *arguments: str) -> str:
    # A separate process: it must not use the interpreter, unlike other tests.
    environment = {name: x for name, x in os.environ.items() if name != "TRITON_INTERPRET"}
    environment.setdefault("TRITON_CACHE_DIR", str(cache))
    command = [sys.executable, "-W", "ignore", "-m", "tests.ops.triton.compiling"]
    done = subprocess.run(
        [*command, *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_launches_by_address_are_those_by_tensor(cache: Path) -> None:
    assert int(run_compiler(cache, "by address")) > 0


@pytest.mark.parametrize("capability", CAPABILITIES, ids=CAPABILITIES.get)
def test_hot_kernels_do_not_spill_and_read_wide(capability: int, cache: Path) -> None:
    for case, found in launches("hot", capability, cache).items():
        names = [one["kernel"] for one in found]
        if case.startswith("dense") and case != "dense 19 bf16":  # p = 1 takes two more passes
            assert names[: len(FORWARD) + 1] == [*FORWARD, "dense_gradient_kernel"], names
        for one in found:
            assert one["registers"] <= REGISTERS[one["kernel"]], (case, one)
            few = SOME_NUMBERS if one["kernel"] == "sift_kernel" else 0
            assert one["stack"] <= few, (case, one)
            if one["kernel"] in WIDE:
                # 550 x 550 pixels of 2 bytes would be units of 4: 64 bits.
                assert one["most"] >= 128, (case, one)
            if one["kernel"] == "dense_gradient_kernel":
                assert one["store"] >= 128, (case, one)


@pytest.mark.parametrize("capability", CAPABILITIES, ids=CAPABILITIES.get)
@pytest.mark.parametrize("group", ["channels last", "shapes"])
def test_every_shape_compiles(group: str, capability: int, cache: Path) -> None:
    for case, found in launches(group, capability, cache).items():
        bounds = RARE if group == "shapes" or "odd" in case else REGISTERS
        for one in found:
            few = SOME_NUMBERS if one["kernel"] == "sift_kernel" else A_FEW_NUMBERS
            assert one["stack"] <= few, (case, one)
            assert one["registers"] <= bounds[one["kernel"]], (case, one)
        if group == "channels last" and "odd" not in case and "upsampled" not in case:
            (gradient,) = (x for x in found if x["kernel"] == "interleaved_gradient_kernel")
            # Two classes of a pixel are a run of two logits.
            run = 64 if case == "channels last 2 rows" else 128
            assert min(gradient["load"], gradient["store"]) >= run, case
        if case == "channels last 32 bf16":  # with 19 classes, logits are read one by one
            (losses,) = (x for x in found if x["kernel"] == "dense_losses_kernel")
            assert losses["most"] >= 128


def test_the_committed_counts_are_those_of_these_kernels(cache: Path) -> None:
    content = json.loads(COUNTED.read_text())
    here = {"triton": version("triton"), "ptxas": assembler()}
    there = {name: content["environment"].get(name) for name in here}
    if here != there:
        pytest.skip(f"{COUNTED.name} was counted with {there}, here is {here}")

    def used(one: dict[str, Any], number: int | None) -> tuple[str, int, int]:
        kernel = one["kernel"] if number is None else f"{one['kernel']}, pass {number}"
        return kernel, one["registers"], one["stack"]

    for case, found in launches("hot", 90, cache).items():
        now = {used(one, one["numbers"].get("PASS")) for one in found}
        then = {used(one, None) for one in content["kernels"][case]}
        assert now == then, (case, "run: python -m benchmarks.kernels")
