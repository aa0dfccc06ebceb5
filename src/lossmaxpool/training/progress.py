"""How a run is doing: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lossmaxpool.runs.record import RunRecord

# Seconds between two lines.
_PAUSE = 10.0
# Columns of a terminal that the words beside a bar may take.
_WORDS = 64


@dataclass(frozen=True)
class Place:
    """The place of a run among several.

    Args:
        waiting: How many follow on the same process, one after the other.
        kind: What each of them is called.
    """

    number: int = 1
    total: int = 1
    waiting: int = 0
    kind: str = "run"

    def __str__(self) -> str:
        return f"{self.kind} {self.number} of {self.total}"


ALONE = Place()


@dataclass(frozen=True)
class Work:
    """The work of a run.

    Args:
        eval_every: Steps between evaluations; 0 evaluates at the end alone.
        images: Images of an evaluation.
    """

    steps: int
    eval_every: int
    images: int
    batch_size: int

    def evaluations(self, after: int = 0) -> int:
        """How many evaluations come after a step.

        Example:
            >>> Work(10, 4, 1, 1).evaluations(), Work(10, 4, 1, 1).evaluations(after=8)
            (3, 1)
        """
        every = self.eval_every or self.steps
        return -(-self.steps // every) - after // every if after < self.steps else 0


class ProgressReport:
    """A bar with loss, mIoU and time left on a terminal; a line now and then elsewhere.

    Runs that share a terminal write lines, too: two bars would overwrite each other. As a context
    it ends the bar however the run ends, so that the shell's prompt has a line of its own.

    Args:
        record: The record of the run, up to date whenever a method is called.
        console: Where to write; None for a process that is silent.
        place: Its place among several, whose time left is shown instead of its own.
    """

    def __init__(
        self, record: RunRecord, work: Work, console: Console | None, place: Place = ALONE
    ) -> None:
        self.record = record
        self.work = work
        self.place = place
        self._console = console
        self._bar = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(max(6, min(40, console.width - _WORDS))),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}"),
                console=console,
            )
            if console is not None and _has_terminal(console)
            else None
        )
        self._first_step = 0
        self._started = 0.0
        self._spoken = 0.0
        # Of the evaluations that are done: their images, and the seconds that they took.
        self._images, self._seconds = 0, 0.0
        # Of the present one: from when on it is timed, and the image that was done then.
        self._since: float | None = None
        self._from = 0

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, step: int) -> None:
        """Begin at a step."""
        self._first_step = step
        self._started = time.monotonic()
        if self._bar is not None:
            # Of several, the line that announced the run has its name.
            name = str(self.place) if self.place.total > 1 else self._name()
            self._task = self._bar.add_task(name, total=self.work.steps, completed=step, status="")
            self._bar.start()

    def stepped(self, step: int, loss: float | None = None) -> None:
        """Show a step that is done, with its loss; without one, with the last that was recorded."""
        self._show(step, self._scores(loss) + self._left(step))

    def evaluating(self, step: int, done: int, total: int) -> None:
        """Show how far the evaluation after a step is."""
        if self._since is None:
            self._since, self._from = time.monotonic(), done
        self._show(step, f"  evaluating image {done} of {total}{self._left(step, done)}")

    def evaluated(self, step: int) -> None:
        """Show an evaluation that is done."""
        if self._since is not None:
            self._seconds += time.monotonic() - self._since
            self._images += self.work.images - self._from
            self._since = None
        self._spoken = 0.0
        self._show(step, self._scores() + self._left(step))

    def seconds_left(self, step: int, evaluated: int = 0) -> float | None:
        """Estimate the time until this run and those that wait for it are done; None at its start.

        The runs that wait are taken to be as long as this one.
        """
        done = step - self._first_step
        if not done:
            return None
        now = time.monotonic()
        seconds, images = self._seconds, self._images
        if self._since is not None:
            seconds, images = seconds + now - self._since, images + evaluated - self._from
        per_step = (now - self._started - seconds) / done
        # Before the first evaluation: as much for an image as for a crop of a step.
        per_image = seconds / images if images else per_step / self.work.batch_size
        to_evaluate = self.work.evaluations(after=step) * self.work.images
        if self._since is not None:
            to_evaluate += self.work.images - evaluated
        own = (self.work.steps - step) * per_step + to_evaluate * per_image
        whole = self.work.steps * per_step
        whole += self.work.evaluations() * self.work.images * per_image
        return own + self.place.waiting * whole

    def _name(self) -> str:
        return f"{self.record.label}, seed {self.record.seed}"

    def _show(self, step: int, status: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step, status=status)
        elif self._console is not None and time.monotonic() - self._spoken >= _PAUSE:
            self._spoken = time.monotonic()
            place = f"{self.place}: " if self.place.total > 1 else ""
            self._console.print(
                f"{place}{self._name()}: step {step}/{self.work.steps}{status}",
                highlight=False,
                soft_wrap=True,
            )

    def _scores(self, loss: float | None = None) -> str:
        parts = []
        if loss is None and self.record.curve:
            loss = self.record.curve[-1].loss
        if loss is not None:
            parts.append(f"  loss {loss:.3f}")
        if self.record.evaluations:
            parts.append(f"  mIoU {100 * self.record.evaluations[-1].miou:.1f} %")
        return "".join(parts)

    def _left(self, step: int, evaluated: int = 0) -> str:
        seconds = self.seconds_left(step, evaluated)
        if seconds is None:
            return ""
        return f"  {in_words(seconds)} left{' in all' if self.place.total > 1 else ''}"


def beginning(what: str) -> AbstractContextManager[object]:
    """Show on a terminal what takes its time before the first step."""
    console = Console(stderr=True)
    return console.status(f"{what} ...") if _has_terminal(console) else nullcontext()


def in_words(seconds: float) -> str:
    """A time as a person says it.

    Example:
        >>> in_words(44), in_words(700), in_words(9000)
        ('44 seconds', '12 minutes', '2.5 hours')
    """
    if seconds < 99:
        count, unit = f"{seconds:.0f}", "second"
    elif seconds < 99 * 60:
        count, unit = f"{seconds / 60:.0f}", "minute"
    else:
        count, unit = f"{seconds / 3600:.1f}", "hour"
    return f"{count} {unit}{'' if count == '1' else 's'}"


def _has_terminal(console: Console) -> bool:
    """Whether this process alone writes to a terminal."""
    return console.is_terminal and multiprocessing.parent_process() is None
