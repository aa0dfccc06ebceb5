"""What the native kernels refuse, in words, and what they say where they were not built."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lossmaxpool.ops.backends.native import library
from lossmaxpool.ops.backends.native.calls import pixel_losses
from lossmaxpool.ops.backends.native.support import supports, supports_solve

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
    """The library is looked for again, and once more after the test."""
    library.find.cache_clear()
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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_openmp_runtime_serves_torch_and_the_kernels() -> None:
    code = (
        "import torch\n"
        "from lossmaxpool.ops.backends.native.calls import solve\n"
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
