"""Lightning's Trainer, as a run of this package needs it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import (  # type: ignore[attr-defined]
    MisconfigurationException,
)

from lossmaxpool.training.checkpoints import AtomicCheckpointIO
from lossmaxpool.training.config import TrainConfig
from lossmaxpool.training.errors import TrainingError


def make_trainer(config: TrainConfig, out: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Return the trainer of a run.

    Args:
        config: The run.
        out: Its folder, for TensorBoard.
        callbacks: What records, tells and saves, in this order.

    Raises:
        TrainingError: The hardware that was asked for is not there.
    """
    hardware, steps = config.hardware, config.optimisation.steps
    parts = config.optimisation.accumulate
    try:
        return pl.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.num_nodes,
            strategy=hardware.strategy,
            precision=hardware.precision,
            max_steps=steps,
            max_epochs=-1,
            # One epoch without an end: evaluations count steps, so a resumed run keeps its place.
            check_val_every_n_epoch=None,
            val_check_interval=min(config.reporting.eval_every or steps, steps) * parts,
            accumulate_grad_batches=parts,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            logger=TensorBoardLogger(out, name="", version="tensorboard"),
            plugins=[AtomicCheckpointIO()],
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except MisconfigurationException as error:
        raise TrainingError(f"Lightning refuses this hardware: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's tips and the warnings that do not concern this trainer to themselves."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # A few workers are right here: the cores are busy with the network.
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            # Lightning 2.6 asks torch for a class by its old name.
            warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
