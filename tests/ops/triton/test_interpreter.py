"""Run every test in ``kernels`` in Triton's interpreter, in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parent / "kernels").glob("test_*.py"))
ROOT = Path(__file__).resolve().parents[3]
# The interpreter computes with NumPy, which warns of the infinities and NaN that tests put in.
ITS_ARITHMETIC = "ignore::RuntimeWarning:triton.runtime.interpreter"
# Up to Triton 3.6 it turns arrays of one element into numbers.
ITS_NUMBERS = "ignore:Conversion of an array with ndim:DeprecationWarning"


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_kernels(file: Path) -> None:
    command = [sys.executable, "-m", "pytest", str(file), "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-p", "no:xdist", "-W", ITS_ARITHMETIC, "-W", ITS_NUMBERS],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
