"""The callback that decides when a checkpoint is due."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from lossmaxpool.atomic import write_atomically
from lossmaxpool.training.checkpoints import BEST, LAST, NEXT, kept_checkpoints, kept_name
from lossmaxpool.training.config import TrainConfig
from lossmaxpool.training.errors import NonFiniteLossError, RunInterruptedError
from lossmaxpool.training.interrupts import Interrupt
from lossmaxpool.training.record import RunRecord


class Checkpointing(pl.Callback):
    """Saves last.ckpt at intervals, after evaluations and on Ctrl-C; best.ckpt on a new best mIoU.

    The checkpoints of the last few evaluations stay where the configuration says so: their scores
    under another tiling can then be had after training (Rota Bulò et al. 2017, Tables 1 and 3).

    Where an evaluation follows a step, the checkpoint waits for it: a resumed run then neither
    repeats nor misses one.

    Args:
        config: The run.
        record: Its record, up to date before this callback is called.
        interrupt: Whether to stop.
        folder: The run folder.
    """

    def __init__(
        self, config: TrainConfig, record: RunRecord, interrupt: Interrupt, folder: Path
    ) -> None:
        self.config = config
        self.record = record
        self.interrupt = interrupt
        self.folder = folder

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not self.config.ends_step(batch_idx):
            return
        step = trainer.global_step
        reporting = self.config.reporting
        if reporting.eval_every and step % reporting.eval_every == 0:
            return
        stop = self._stop(trainer)
        at_end = step == self.config.optimization.steps
        if stop or at_end or step % reporting.checkpoint_every == 0:
            self._save(trainer, pl_module)
        if stop:
            self._raise(step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit":
            # There is no optimizer to save: the last step has left its checkpoint.
            self._keep(trainer, LAST)
            return
        self._save(trainer, pl_module, NEXT)
        self._keep(trainer, NEXT)
        if trainer.is_global_zero:
            # At the end: a run that is killed before repeats the evaluation, and keeps its state.
            (self.folder / NEXT).replace(self.folder / LAST)
        if self._stop(trainer):
            self._raise(trainer.global_step)

    def _keep(self, trainer: pl.Trainer, name: str) -> None:
        """Copy the state that was evaluated to where it stays."""
        if not trainer.is_global_zero:
            return
        scores = [evaluation.miou for evaluation in self.record.evaluations]
        number = self.config.reporting.keep_checkpoints
        copies = [BEST] if scores[-1] == max(scores) else []
        copies += [kept_name(trainer.global_step)] if number else []
        for copy in copies:
            write_atomically(self.folder / copy, (self.folder / name).read_bytes())
        if number:
            for old in kept_checkpoints(self.folder)[:-number]:
                old.unlink()

    def _stop(self, trainer: pl.Trainer) -> bool:
        # All ranks stop at the same step, or the others would wait for this one for ever.
        return trainer.strategy.reduce_boolean_decision(self.interrupt.requested, all=False)

    def _raise(self, step: int) -> None:
        raise RunInterruptedError(
            f"interrupted after step {step} of {self.config.optimization.steps}; "
            f"--resume goes on from {self.folder / LAST}"
        )

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule, name: str = LAST) -> None:
        # A finite loss may still leave a weight that is not: such a state must not replace a good
        # checkpoint.
        broken = [
            key for key, value in module.state_dict().items() if not torch.isfinite(value).all()
        ]
        if broken:
            raise NonFiniteLossError(
                f"{len(broken)} weights are NaN or infinite after step {trainer.global_step}, "
                f"{broken[0]} among them: lower optimization.lr or add optimization.warmup; "
                "the last good checkpoint was kept"
            )
        trainer.save_checkpoint(self.folder / name)
