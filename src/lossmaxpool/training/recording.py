"""The callback that keeps the run record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lossmaxpool.runs.record import CurvePoint, Evaluation, RunRecord
from lossmaxpool.training.module import SegmentationModule, rate_factor


class RecordKeeper(pl.Callback):
    """Adds the curve and the evaluations to the record, and writes it after each evaluation.

    What it has gathered travels in the checkpoint, so that a resumed run has the record of one
    that was never interrupted.

    Args:
        record: The record to fill.
        folder: The run folder.

    Attributes:
        restored: Whether a checkpoint has given back what was gathered.
    """

    def __init__(self, record: RunRecord, folder: Path) -> None:
        self.record = record
        self.folder = folder
        self.restored = False
        self._parts: list[Mapping[str, Tensor]] = []
        self._earlier_seconds = 0.0
        self._started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        gathered = self.record.gathered() | {"seconds": self._seconds()}
        return {key: value for key, value in gathered.items() if key != "evolution"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.record.take(state_dict)
        self._earlier_seconds = state_dict["seconds"]
        self.restored = True

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if "cross_entropy" not in outputs:
            return
        self._parts.append(outputs)
        config = self._module(pl_module).config
        if not config.ends_step(batch_idx):
            return
        optimization, step = config.optimization, trainer.global_step
        # Lightning has divided the loss of each part by their number.
        loss = torch.stack([part["loss"] for part in self._parts]).sum()
        cross_entropy = torch.stack([part["cross_entropy"] for part in self._parts]).mean()
        self._parts.clear()
        point = CurvePoint(
            step,
            _mean_over_ranks(trainer, loss),
            _mean_over_ranks(trainer, cross_entropy),
            optimization.lr * rate_factor(step - 1, optimization),
        )
        self.record.curve.append(point)
        self._log(trainer, asdict(point))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        confusion = self._module(pl_module).confusion
        scores = {"miou": confusion.miou(), "pixel_accuracy": confusion.pixel_accuracy()}
        step = trainer.global_step
        self.record.evaluations.append(Evaluation(step, **scores, iou=confusion.iou().tolist()))
        self.record.confusion = confusion.counts.tolist()
        self._log(trainer, {"step": step, **scores})
        self.write(trainer)

    def write(self, trainer: pl.Trainer) -> None:
        """Bring the record on the disk up to date."""
        self.record.seconds = self._seconds()
        if trainer.is_global_zero:
            self.record.write(self.folder)

    def _seconds(self) -> float:
        return round(self._earlier_seconds + time.monotonic() - self._started, 1)

    @staticmethod
    def _module(module: pl.LightningModule) -> SegmentationModule:
        assert isinstance(module, SegmentationModule)
        return module

    @staticmethod
    def _log(trainer: pl.Trainer, entry: Mapping[str, Any]) -> None:
        if trainer.logger is not None:
            scalars = {key: value for key, value in entry.items() if key != "step"}
            trainer.logger.log_metrics(scalars, step=entry["step"])


def _mean_over_ranks(trainer: pl.Trainer, value: Tensor) -> float:
    return float(trainer.strategy.reduce(value.detach().float(), reduce_op="mean"))
