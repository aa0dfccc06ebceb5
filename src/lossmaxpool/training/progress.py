"""How a run is doing: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import multiprocessing
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lossmaxpool.runs.record import RunRecord

# Seconds between two lines.
_PAUSE = 10.0


class ProgressReport:
    """A bar with loss, mIoU and time left on a terminal; a line now and then elsewhere.

    Runs that share a terminal write lines, too: two bars would overwrite each other. As a context
    it ends the bar however the run ends, so that the shell's prompt has a line of its own.

    Args:
        record: The record of the run, up to date whenever a method is called.
        steps: Steps of the run.
        console: Where to write; None for a process that is silent.
    """

    def __init__(self, record: RunRecord, steps: int, console: Console | None) -> None:
        self.record = record
        self.steps = steps
        self._console = console
        alone = multiprocessing.parent_process() is None
        self._bar = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}"),
                console=console,
            )
            if console is not None and console.is_terminal and alone
            else None
        )
        self._first_step = 0
        self._started = 0.0
        self._spoken = 0.0

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, step: int) -> None:
        """Begin at a step."""
        self._first_step = step
        self._started = time.monotonic()
        if self._bar is not None:
            name = f"{self.record.label}, seed {self.record.seed}"
            self._task = self._bar.add_task(name, total=self.steps, completed=step, status="")
            self._bar.start()

    def stepped(self, step: int) -> None:
        """Show a step that is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, status=self._status(step))
        elif time.monotonic() - self._spoken >= _PAUSE:
            self._line(step)

    def evaluating(self, done: int, total: int) -> None:
        """Show how far an evaluation is."""
        if self._bar is not None:
            self._bar.update(self._task, status=f"  evaluating image {done} of {total}")

    def evaluated(self, step: int) -> None:
        """Show an evaluation that is done."""
        if self._bar is not None:
            self._bar.update(self._task, status=self._status(step))
        else:
            self._line(step)

    def _line(self, step: int) -> None:
        if self._console is None:
            return
        self._spoken = time.monotonic()
        self._console.print(
            f"{self.record.label}, seed {self.record.seed}: step {step}/{self.steps}"
            f"{self._status(step)}",
            highlight=False,
            soft_wrap=True,
        )

    def _status(self, step: int) -> str:
        parts = []
        if self.record.curve:
            parts.append(f"  loss {self.record.curve[-1].loss:.3f}")
        if self.record.evaluations:
            parts.append(f"  mIoU {100 * self.record.evaluations[-1].miou:.1f} %")
        done = step - self._first_step
        if done:
            left = (time.monotonic() - self._started) / done * (self.steps - step)
            parts.append(f"  {_clock(left)} left")
        return "".join(parts)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
