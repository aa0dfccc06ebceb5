"""The callback that keeps the run record."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lossmaxpool.training.module import SegmentationModule, rate_factor
from lossmaxpool.training.record import RunRecord


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
        return {
            "curve": self.record.curve,
            "evaluations": self.record.evaluations,
            "confusion": self.record.confusion,
            "seconds": self._seconds(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.record.curve = state_dict["curve"]
        self.record.evaluations = state_dict["evaluations"]
        self.record.confusion = state_dict["confusion"]
        self._earlier_seconds = state_dict["seconds"]
        self._summarise()
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
        entry = {
            "step": step,
            "loss": _mean_over_ranks(trainer, loss),
            "cross_entropy": _mean_over_ranks(trainer, cross_entropy),
            "learning_rate": optimization.lr * rate_factor(step - 1, optimization),
        }
        self.record.curve.append(entry)
        self._log(trainer, entry)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        confusion = self._module(pl_module).confusion
        iou = [None if math.isnan(value) else value for value in confusion.iou().tolist()]
        evaluation = {
            "step": trainer.global_step,
            "miou": confusion.miou(),
            "pixel_accuracy": confusion.pixel_accuracy(),
            "iou": iou,
        }
        self.record.evaluations.append(evaluation)
        self.record.confusion = confusion.counts.tolist()
        self._summarise()
        self._log(trainer, {key: evaluation[key] for key in ("step", "miou", "pixel_accuracy")})
        self.write(trainer)

    def write(self, trainer: pl.Trainer) -> None:
        """Bring the record on the disk up to date."""
        self.record.seconds = self._seconds()
        if trainer.is_global_zero:
            self.record.write(self.folder)

    def _summarise(self) -> None:
        if self.record.evaluations:
            last = self.record.evaluations[-1]
            self.record.iou = last["iou"]
            self.record.miou = last["miou"]
            self.record.pixel_accuracy = last["pixel_accuracy"]

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
