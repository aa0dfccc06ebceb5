"""Lightning's Trainer, as a run of this package needs it."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import (  # type: ignore[attr-defined]
    ClusterEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.utilities.exceptions import (  # type: ignore[attr-defined]
    MisconfigurationException,
)

from lossmaxpool.processes import end_with_parent
from lossmaxpool.training.checkpoints import AtomicCheckpointIO
from lossmaxpool.training.config import HardwareConfig, TrainConfig
from lossmaxpool.training.errors import TrainingError


def make_trainer(
    config: TrainConfig, out: Path, callbacks: list[pl.Callback], val_images: int
) -> pl.Trainer:
    """Return the trainer of a run.

    Args:
        config: The run.
        out: Its folder, for TensorBoard.
        callbacks: What records, tells and saves, in this order.
        val_images: Size of the validation split.

    Raises:
        TrainingError: The hardware that was asked for is not there, a launcher has started another
            number of processes, or there are more of them than validation images.
    """
    hardware, steps = config.hardware, config.optimization.steps
    parts = config.optimization.accumulate
    plugins: list[Any] = [AtomicCheckpointIO()]
    try:
        name, launcher = _launcher()
        if launcher is not None:
            plugins.append(launcher)
        trainer = pl.Trainer(
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
            # Lightning resumes from what it once left there, before anything else.
            default_root_dir=out,
            plugins=plugins,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    # Of a job that asks for its tasks in a way that it cannot serve, it says so plainly.
    except (MisconfigurationException, RuntimeError, ValueError, TypeError) as error:
        raise TrainingError(f"Lightning refuses this hardware: {error}") from error
    if launcher is not None and launcher.world_size() != trainer.world_size:
        # Each process would train by itself, and all of them would write into one folder.
        raise TrainingError(
            f"{name} has started {launcher.world_size()} processes, and hardware.devices "
            f"{hardware.devices} on hardware.num_nodes {hardware.num_nodes} with "
            f"hardware.strategy {hardware.strategy} makes {trainer.world_size}: give the "
            "processes of one machine as hardware.devices, the machines as "
            "hardware.num_nodes, and hardware.strategy ddp"
        )
    if trainer.world_size > 1 and (name == "torchrun" or (not name and trainer.local_rank > 0)):
        # Not under SLURM, which ends the tasks of a step itself.
        end_with_parent()
    if val_images < trainer.world_size:
        raise TrainingError(
            f"{val_images} validation images for {trainer.world_size} processes: each needs one of "
            "its own; train on fewer devices, or validate on more images"
        )
    return trainer


def check_workers(hardware: HardwareConfig) -> None:
    """Refuse more worker processes than the machine can start in reasonable time.

    Raises:
        TrainingError: There are more than 8 for each core.
    """
    cores = os.cpu_count() or 1
    if hardware.workers > 8 * cores:
        raise TrainingError(
            f"hardware.workers is {hardware.workers}, but this machine has {cores} cores: expected "
            f"at most {8 * cores}; one per core and device is usual"
        )


def _launcher() -> tuple[str, ClusterEnvironment | None]:
    """Who has started this process, as one of several; of two, the one nearer to it."""
    if TorchElasticEnvironment.detect():
        return "torchrun", TorchElasticEnvironment()
    if SLURMEnvironment.detect():
        # Lightning's requeueing would save a state of its own, in the middle of a step.
        return "SLURM", SLURMEnvironment(auto_requeue=False)
    return "", None


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
