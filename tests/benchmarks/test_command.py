"""The benchmark starts as a module and as a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("form", [["-m", "benchmarks.loss"], ["benchmarks/loss.py"]])
def test_both_forms_start(form: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *form, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--quick" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure")
def test_without_a_gpu_none_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/loss.py", "--device", "cuda"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "torch sees no GPU on this machine" in done.stderr
