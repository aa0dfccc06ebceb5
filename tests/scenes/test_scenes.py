"""A scene is decided by its seed alone: not by the process, its history or its processor."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest

from lossmaxpool.scenes import COLORS, NAMES, render

CODE = """
import numpy as np
from hashlib import blake2b
from lossmaxpool.scenes import render
digest = blake2b()
for seed in range({count}):
    for array in render(np.random.default_rng(seed), 64, 96):
        digest.update(array.tobytes())
print(digest.hexdigest())
"""
COUNT = 12


def features() -> list[str]:
    """The instruction sets that NumPy has chosen at run time."""
    try:
        from numpy._core import _multiarray_umath as core
    except ImportError:  # NumPy 1
        from numpy.core import _multiarray_umath as core  # type: ignore[no-redef]
    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]


def test_a_processor_without_vector_instructions_draws_the_same() -> None:
    chosen = features()
    if not chosen:
        pytest.skip("NumPy uses no instruction set beyond its baseline here")
    digest = blake2b()
    for seed in range(COUNT):
        for array in render(np.random.default_rng(seed), 64, 96):
            digest.update(array.tobytes())
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(count=COUNT)],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(chosen)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest.hexdigest()


def test_what_was_drawn_before_does_not_matter() -> None:
    first = render(np.random.default_rng(5), 48, 64)
    render(np.random.default_rng(6), 200, 120)
    again = render(np.random.default_rng(5), 48, 64)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_every_class_has_a_name_and_a_color_and_is_drawn() -> None:
    seen: set[int] = set()
    for seed in range(30):
        picture, mask = render(np.random.default_rng(seed), 64, 96)
        assert (picture.shape, mask.shape) == ((64, 96, 3), (64, 96))
        seen |= set(np.unique(mask).tolist())
    assert seen - {255} == set(range(len(NAMES))) == set(range(len(COLORS)))
