"""The callback that tells how a run is doing."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lossmaxpool.training.record import RunRecord

# Seconds between two lines.
_PAUSE = 10.0


class ProgressReport(pl.Callback):
    """A bar with loss, mIoU and time left on a terminal; a line now and then elsewhere.

    Runs that share a terminal write lines, too: two bars would overwrite each other.

    Args:
        record: The record of the run, up to date before this callback is called.
        steps: Steps of the run.
        console: Where to tell.
    """

    def __init__(self, record: RunRecord, steps: int, console: Console) -> None:
        self.record = record
        self.steps = steps
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
        )
        self._first_step = 0
        self._started = 0.0
        self._spoken = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first_step = trainer.global_step
        self._started = time.monotonic()
        if self._shows_bar(trainer):
            name = f"{self.record.label}, seed {self.record.seed}"
            self._task = self._bar.add_task(
                name, total=self.steps, completed=self._first_step, status=""
            )
            self._bar.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        step = trainer.global_step
        if self._shows_bar(trainer):
            self._bar.update(self._task, completed=step, status=self._status(step))
        elif trainer.is_global_zero and time.monotonic() - self._spoken >= _PAUSE:
            self._line(step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._shows_bar(trainer):
            self._bar.update(self._task, status=self._status(trainer.global_step))
        elif trainer.is_global_zero:
            self._line(trainer.global_step)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        # Lightning skips `teardown` then, and the shell's prompt would follow on the bar's line.
        self._bar.stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._shows_bar(trainer):
            self._bar.stop()

    def _shows_bar(self, trainer: pl.Trainer) -> bool:
        alone = multiprocessing.parent_process() is None
        return trainer.is_global_zero and alone and self._console.is_terminal

    def _line(self, step: int) -> None:
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
