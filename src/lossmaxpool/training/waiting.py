"""The callback that says when a step waits for its images."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from rich.console import Console

from lossmaxpool.training.config import HardwareConfig
from lossmaxpool.training.record import RunRecord

# A smaller share of the time is not worth a word, nor are fewer steps a measurement.
_SHARE = 0.2
_STEPS = 50


class LoaderWatch(pl.Callback):
    """Measures how long training waits for crops, and says so where that slows it down.

    It speaks once after the first steps, when something can still be done about it, and at the end.
    The first batch of a session, for which the workers start, and evaluations are not counted.

    Args:
        record: The record whose ``waiting`` is kept up to date.
        hardware: What the advice depends on.
        console: Where to speak.
    """

    def __init__(self, record: RunRecord, hardware: HardwareConfig, console: Console) -> None:
        self.record = record
        self.hardware = hardware
        self.console = console
        self._batches = 0
        self._waited = 0.0
        self._computed = 0.0
        self._since: float | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if self._since is not None:
            self._batches += 1
            self._waited += now - self._since
        self._since = now

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        now = time.perf_counter()
        if self._batches and self._since is not None:
            self._computed += now - self._since
            self.record.waiting = round(self._waited / (self._waited + self._computed), 4)
        self._since = now
        if self._batches == _STEPS:
            self._speak(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._batches > _STEPS:
            self._speak(trainer)

    def _speak(self, trainer: pl.Trainer) -> None:
        share = self.record.waiting
        if share is None or share < _SHARE or not trainer.is_global_zero:
            return
        waited = self._waited / self._batches
        step = waited + self._computed / self._batches
        advice = f"raise hardware.workers, now {self.hardware.workers}"
        if not self.hardware.cache:
            advice += ", or set hardware.cache if the images fit into memory"
        self.console.print(
            f"loading is the bottleneck: a batch waits {waited:.2g} s of its {step:.2g} s "
            f"({share:.0%}) for its images; {advice}",
            highlight=False,
            soft_wrap=True,
        )
