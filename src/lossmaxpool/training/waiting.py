"""The callback that says when a step waits for its images."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console

from lossmaxpool.training.config import HardwareConfig
from lossmaxpool.training.record import RunRecord

# A smaller share of the time is not worth a word.
_SHARE = 0.2
# Batches that are looked at. Not all of them: on a GPU, looking means waiting for it.
_BATCHES = 50


class LoaderWatch(pl.Callback):
    """Measures how long the first batches wait for their crops, and says so where it is long.

    The very first batch of a session, for which the workers start, and evaluations do not count.

    Args:
        record: The record that gets the share of the time, ``waiting``.
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
        if self._since is not None and self._batches < _BATCHES:
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
        if self._batches == _BATCHES:
            return
        if pl_module.device.type == "cuda":
            # What it has still to do is computing, however long the next batch takes to come.
            torch.cuda.synchronize(pl_module.device)
        now = time.perf_counter()
        assert self._since is not None
        if self._waited:
            self._batches += 1
            self._computed += now - self._since
            self.record.waiting = round(self._waited / (self._waited + self._computed), 4)
        self._since = now
        if self._batches == _BATCHES and trainer.is_global_zero:
            self._speak()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.perf_counter()

    def _speak(self) -> None:
        share = self.record.waiting
        if share is None or share < _SHARE:
            return
        waited = self._waited / self._batches
        batch = waited + self._computed / self._batches
        advice = f"raise hardware.workers, now {self.hardware.workers}"
        if not self.hardware.cache:
            advice += ", or set hardware.cache if the images fit into memory"
        self.console.print(
            f"loading is the bottleneck: a batch waits {waited:.2g} s of its {batch:.2g} s "
            f"({share:.0%}) for its images; {advice}",
            highlight=False,
            soft_wrap=True,
        )
