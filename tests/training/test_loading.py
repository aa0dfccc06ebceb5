from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from lossmaxpool.runs.config import HardwareConfig
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import loading
from lossmaxpool.training.loading import LoaderWatch
from tests.tolerances import CLOCK


class Session:
    """A run on a clock that is set by hand, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hardware: HardwareConfig) -> None:
        self.now = 100.0
        monkeypatch.setattr(loading, "time", SimpleNamespace(perf_counter=lambda: self.now))
        self.record: Any = SimpleNamespace(waiting=None)
        self.said = io.StringIO()
        self.watch = LoaderWatch(self.record, hardware, Console(file=self.said))

    def batch(self, *, wait: float, compute: float) -> None:
        self.now += wait
        self.watch.arrived()
        self.now += compute
        self.watch.computed(torch.device("cpu"))

    def validation(self, seconds: float) -> None:
        self.now += seconds
        self.watch.paused()


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    """Begin a session whose workers take a minute to start."""

    def begun(**hardware: Any) -> Session:
        session = Session(monkeypatch, HardwareConfig(**hardware))
        session.batch(wait=60.0, compute=0.3)
        return session

    return begun


def test_a_slow_loader_is_named_with_what_would_help(begin: Callable[..., Session]) -> None:
    session = begin(workers=3)
    for _ in range(80):
        session.batch(wait=0.1, compute=0.3)
    assert session.record.waiting == pytest.approx(0.25)
    said = " ".join(session.said.getvalue().split())
    assert said == (
        "loading is the bottleneck: a batch waits 0.1 s of its 0.4 s (25%) for its images; raise "
        "hardware.workers, now 3, or set hardware.cache if the images fit into memory"
    )


def test_what_is_cached_is_not_advised_to_be(begin: Callable[..., Session]) -> None:
    session = begin(cache=True)
    for _ in range(50):
        session.batch(wait=0.1, compute=0.3)
    assert "bottleneck" in session.said.getvalue()
    assert "hardware.cache" not in session.said.getvalue()


def test_a_loader_that_keeps_up_is_not_mentioned(begin: Callable[..., Session]) -> None:
    session = begin()
    for _ in range(80):
        session.batch(wait=0.05, compute=0.3)
    assert session.record.waiting == pytest.approx(1 / 7, abs=CLOCK)
    assert session.said.getvalue() == ""


def test_an_evaluation_is_no_waiting(begin: Callable[..., Session]) -> None:
    session = begin()
    for _ in range(50):
        session.validation(30.0)
        session.batch(wait=0.01, compute=0.3)
    assert session.record.waiting == pytest.approx(1 / 31, abs=CLOCK)


def test_a_few_batches_are_measured_but_not_judged(begin: Callable[..., Session]) -> None:
    session = begin()
    for _ in range(49):
        session.batch(wait=0.3, compute=0.3)
    assert session.record.waiting == pytest.approx(0.5)
    assert session.said.getvalue() == ""


def test_the_share_is_part_of_the_record(finished: Path) -> None:
    share = RunRecord.read(finished).waiting
    assert share is not None
    assert 0 < share < 1
