"""The benchmark starts as a module and as a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("form", [["-m", "benchmarks.loss"], ["benchmarks/loss.py"]])
def test_both_forms_start(form: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *form, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--quick" in done.stdout
