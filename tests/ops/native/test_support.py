"""Reasons why the native kernels reject inputs, or are not available."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lossmaxpool import explain_backend, functional, loss_max_pool
from lossmaxpool.ops import max_pool
from lossmaxpool.ops.backends.native import library, pixel_losses, supports, supports_solve

LABELS = torch.zeros(2, 6, 5, dtype=torch.int64)
SCORES = torch.zeros(2, 3, 6, 5)


@pytest.mark.parametrize(
    ("logits", "target", "words"),
    [
        (SCORES.double(), LABELS, "float64"),
        (SCORES.to("meta"), LABELS, "meta"),
        (SCORES, LABELS.to("meta"), "meta"),
        (SCORES, LABELS.bool(), "bool"),
        (SCORES[:, :0], LABELS, "no classes"),
        (torch.zeros(2, 3, 2, 2, 2), torch.zeros(2, 4, 4, 4, dtype=torch.int64), "one or two"),
        (
            torch.zeros(2, 3, 4, 6, 8)[:, :, ::2, :3, :5],
            torch.zeros(2, 2, 3, 5, dtype=torch.int64),
            "do not merge",
        ),
    ],
)
def test_refusals_say_why(logits: torch.Tensor, target: torch.Tensor, words: str) -> None:
    reason = supports(logits, target, target.shape[1:])
    assert reason is not None
    assert words in reason


def test_the_solver_refuses_float64() -> None:
    assert supports_solve(torch.zeros(1, 3)) is None
    assert "float64" in (supports_solve(torch.zeros(1, 3).double()) or "")


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Reload the library for the test, and again after it; no call is kept as prepared."""
    library.find.cache_clear()
    for module, names in ((functional, ("_prepared", "_prepared_pool")), (max_pool, ("prepare",))):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name).__wrapped__)
    yield monkeypatch
    monkeypatch.undo()
    library.find.cache_clear()


def test_a_missing_library_is_explained(forgotten: pytest.MonkeyPatch) -> None:
    forgotten.setattr(library, "PATH", Path("nowhere.so"))
    assert "without a C++ compiler" in (supports(SCORES, LABELS, LABELS.shape[1:]) or "")
    with pytest.raises(RuntimeError, match="without a C\\+\\+ compiler"):
        pixel_losses(SCORES, LABELS, None, -100, 0.0)


def test_a_broken_library_is_explained(forgotten: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_text("no library")
    forgotten.setattr(library, "PATH", broken)
    assert "could not be loaded" in (supports_solve(torch.zeros(1, 3)) or "")


def test_the_switch_turns_it_off(forgotten: pytest.MonkeyPatch) -> None:
    forgotten.setenv(library.SWITCH, "0")
    assert f"{library.SWITCH}=0" in (supports_solve(torch.zeros(1, 3)) or "")


def compiled(source: str, folder: Path) -> Path:
    """A shared library of C functions."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "other.c").write_text(source)
    built = folder / "other.so"
    subprocess.run([compiler, "-shared", "-fPIC", folder / "other.c", "-o", built], check=True)
    return built


@pytest.mark.parametrize(
    ("source", "words"),
    [
        # 0.1 had no version: it lacks the function that gives it.
        ("void lossmaxpool_solve(void) {}\n", "it lacks a function"),
        (
            f"long long lossmaxpool_interface(void) {{ return {library.INTERFACE - 1}; }}\n",
            f"interface {library.INTERFACE - 1}, expected {library.INTERFACE}",
        ),
        (
            f"long long lossmaxpool_interface(void) {{ return {library.INTERFACE}; }}\n",
            "it lacks a function",
        ),
    ],
    ids=["without", "older", "half"],
)
def test_a_library_of_another_version_is_refused_with_a_warning_once(
    source: str, words: str, forgotten: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forgotten.setattr(library, "PATH", compiled(source, tmp_path))
    losses = torch.rand(2, 100)
    with pytest.warns(UserWarning, match="built for another version") as caught:
        value = loss_max_pool(losses)
    assert len(caught) == 1
    assert words in str(caught[0].message)
    assert "pip install -e ." in str(caught[0].message)
    # "auto" falls back to torch without another warning; an explicit choice raises.
    torch.testing.assert_close(loss_max_pool(losses), value, rtol=0, atol=0)
    assert not explain_backend(SCORES, LABELS).reasons["native"].startswith("could")
    with pytest.raises(RuntimeError, match=r"built for another version.*reinstall"):
        explain_backend(SCORES, LABELS, backend="native")


def test_the_library_knows_its_interface() -> None:
    opened = ctypes.CDLL(str(library.PATH))
    assert opened.lossmaxpool_interface() == library.INTERFACE


# The parent's threads are not in the child: a call that waited for them would never return.
FORK = """
import os, signal, torch
from lossmaxpool.ops.backends.native import pixel_losses, solve
from lossmaxpool.ops.weighting_set import WeightingSet

# Made here: torch's own loops would hang in the child.
logits = torch.arange(4 * 19 * 100 * 100.0).remainder(7).view(4, 19, 100, 100)
labels = torch.ones(4, 100, 100, dtype=torch.uint8)

def run():
    losses = pixel_losses(logits, labels, None, 255, 0.0)
    packed = solve(losses.view(4, -1), None, WeightingSet(1.3, 0.25), False)
    return losses.numpy().tobytes(), packed[0, 0]

torch.set_num_threads(3)
before = run()
child = os.fork()
if not child:
    signal.alarm(100)
    os._exit(0 if run() == before else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_gets_the_same_result_and_does_not_hang() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "0", ran.stdout + ran.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_openmp_runtime_serves_torch_and_the_kernels() -> None:
    code = (
        "import torch\n"
        "from lossmaxpool.ops.backends.native import solve\n"
        "from lossmaxpool.ops.weighting_set import WeightingSet\n"
        "solve(torch.rand(1, 9), None, WeightingSet(1.3, 0.25), False)\n"
        "maps = open('/proc/self/maps').read().split('\\n')\n"
        "print(len({line.split()[-1] for line in maps if 'gomp' in line or 'iomp' in line}))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert ran.stdout.strip() == "1"


ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("asked", "status"), [("", 0), ("1", 1)])
def test_sanitizing_says_that_there_is_no_compiler(asked: str, status: int) -> None:
    build, driver = (
        Path(library.__file__).with_name("build.py"),
        ROOT / "tests/ops/native/driver.cpp",
    )
    assert driver.is_file()
    environment = {**os.environ, "CXX": "no-such-compiler", "LOSSMAXPOOL_BUILD_NATIVE": asked}
    ran = subprocess.run(
        [sys.executable, build, driver], capture_output=True, text=True, env=environment
    )
    assert "skipped, nothing was checked: no-such-compiler does not run" in ran.stderr
    assert ran.returncode == status


def test_the_checks_before_a_change_sanitize() -> None:
    if not (ROOT / ".ci/run").is_file():
        pytest.skip("no checkout")
    assert "make sanitize" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "build.py tests/ops/native/driver.cpp" in (ROOT / "Makefile").read_text(encoding="utf-8")
