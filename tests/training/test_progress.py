"""The display while runs train: their place, the evaluation, the time left over all of them."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import progress
from lossmaxpool.training.progress import Place, ProgressReport, Work, in_words

RECORD = cast(RunRecord, SimpleNamespace(label="LMP", seed=0, curve=[], evaluations=[]))
WORK = Work(steps=10, eval_every=5, images=20, batch_size=4)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that stands still until a test moves it."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def report(place: Place, *, terminal: bool, width: int = 100) -> tuple[ProgressReport, io.StringIO]:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=width)
    return ProgressReport(RECORD, WORK, console, place), written


@pytest.mark.parametrize("eval_every", [0, 1, 3, 4, 10, 11])
def test_the_evaluations_to_come_are_those_of_the_loop(eval_every: int) -> None:
    work = Work(10, eval_every, 1, 1)
    held = [s for s in range(1, 11) if (eval_every and s % eval_every == 0) or s == 10]
    for after in range(11):
        assert work.evaluations(after) == len([step for step in held if step > after])


def test_the_time_left_counts_steps_evaluations_and_the_runs_that_wait(clock: Any) -> None:
    shown, _ = report(Place(2, 4, waiting=2), terminal=False)
    shown.begin(0)
    assert shown.seconds_left(0) is None
    clock.seconds += 5 * 8.0
    # 8 seconds a step of 4 images: as yet, 2 an image.
    assert shown.seconds_left(5) == 5 * 8 + 20 * 2 + 2 * (10 * 8 + 40 * 2)
    shown.evaluating(5, 0, 20)
    clock.seconds += 10
    assert shown.seconds_left(5, evaluated=10) == 5 * 8 + 30 * 1 + 2 * (10 * 8 + 40 * 1)
    clock.seconds += 10
    shown.evaluated(5)
    assert shown.seconds_left(5) == 5 * 8 + 20 * 1 + 2 * (10 * 8 + 40 * 1)


def test_a_resumed_run_counts_only_its_own_steps(clock: Any) -> None:
    shown, _ = report(Place(), terminal=False)
    shown.begin(6)
    clock.seconds += 2
    assert shown.seconds_left(8) == 2 * 1 + 20 * 0.25


@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_fits_a_terminal_and_says_everything(clock: Any, width: int) -> None:
    shown, written = report(Place(2, 6, waiting=4), terminal=True, width=width)
    with shown:
        shown.begin(0)
        clock.seconds += 5 * 60
        shown.evaluating(5, 4, 20)
    plain = re.sub(r"\x1b\[[\d;]*m", "", written.getvalue())
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|\r", "\n", plain)
    last = plain.strip().splitlines()[-1]
    assert len(last) <= width
    assert last.startswith("run 2 of 6 ")
    assert "5/10" in last
    assert last.rstrip().endswith("evaluating image 4 of 20  94 minutes left in all")


def test_a_file_gets_a_line_now_and_then(clock: Any) -> None:
    shown, written = report(Place(2, 6, waiting=4), terminal=False)
    with shown:
        shown.begin(0)
        for step in range(1, 6):
            clock.seconds += 4
            shown.stepped(step)
        clock.seconds += 11
        shown.evaluating(5, 3, 20)
    first, *others = written.getvalue().splitlines()
    assert first == "run 2 of 6: LMP, seed 0: step 1/10  7 minutes left in all"
    assert len(others) == 2
    assert "step 5/10  evaluating image 3 of 20" in others[-1]


def test_the_loss_is_that_of_the_step(clock: Any) -> None:
    shown, written = report(Place(), terminal=False)
    shown.begin(0)
    clock.seconds += 3
    shown.stepped(1, loss=0.25)
    assert "step 1/10  loss 0.250  " in written.getvalue()


def test_a_run_alone_says_nothing_of_others(clock: Any) -> None:
    shown, written = report(Place(), terminal=False)
    shown.begin(0)
    clock.seconds += 3
    shown.stepped(1)
    assert written.getvalue() == "LMP, seed 0: step 1/10  57 seconds left\n"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1, "1 second"), (0, "0 seconds"), (98, "98 seconds"), (99, "2 minutes"), (5940, "1.6 hours")],
)
def test_times_in_words(seconds: float, expected: str) -> None:
    assert in_words(seconds) == expected
