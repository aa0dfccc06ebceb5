"""Fixtures that every test may use."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# Deterministic examples, and no deadline, which a loaded machine would miss.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

# A shell starts background jobs with Ctrl-C ignored. The tests press it in themselves and in their
# children, who would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """``shared_data("camvid")`` returns its folder; skips the test if it is missing."""

    def folder(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.is_dir():
            pytest.skip(f"the real data set {name!r} is not beside this checkout (../shared/data)")
        return path

    return folder


@pytest.fixture
def forbid_waiting() -> Iterator[Callable[[], None]]:
    """Call it after compiling all kernels: synchronizing with CUDA then fails until the test ends.

    torch warns, once a process, that this mode is a prototype; the mode is set nevertheless.
    """

    def switch(mode: str | int) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Synchronization debug mode", UserWarning)
            torch.cuda.set_sync_debug_mode(mode)

    before = torch.cuda.get_sync_debug_mode()
    yield lambda: switch("error")
    switch(before)
