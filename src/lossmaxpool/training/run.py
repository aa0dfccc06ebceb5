"""From a configuration to a run folder."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import (  # type: ignore[attr-defined]
    MisconfigurationException,
)
from torch import Tensor, nn

from lossmaxpool.data import SegmentationDataset, open_dataset
from lossmaxpool.data.inspection import class_statistics
from lossmaxpool.models import ModelDescription, build_model, input_stride, normalization
from lossmaxpool.training.caching import CachedDataset
from lossmaxpool.training.checkpointing import Checkpointing
from lossmaxpool.training.checkpoints import AtomicCheckpointIO
from lossmaxpool.training.config import TrainConfig
from lossmaxpool.training.draws import mix
from lossmaxpool.training.errors import RunInterruptedError, TrainingError
from lossmaxpool.training.examples import write_examples
from lossmaxpool.training.folder import check_folder, claim_folder, find_checkpoint
from lossmaxpool.training.interrupts import postponed_interrupt
from lossmaxpool.training.loading import SegmentationData
from lossmaxpool.training.methods import METHODS
from lossmaxpool.training.module import SegmentationModule
from lossmaxpool.training.progress import ProgressReport
from lossmaxpool.training.record import RunRecord, describe_environment
from lossmaxpool.training.recording import RecordKeeper


def train(config: TrainConfig, out: Path, *, resume: bool = False) -> RunRecord:
    """Train one method with one seed and leave a run folder behind.

    The folder holds config.yaml, record.json, checkpoints/, examples/ and tensorboard/. A resumed
    run has the weights of one that was never interrupted, bit for bit on the CPU.

    Args:
        config: What to train, on what and how.
        out: The run folder; new or empty, unless resuming.
        resume: Go on from the last checkpoint in ``out``.

    Returns:
        The record, as ``record.json`` holds it.

    Raises:
        TrainingError: The folder cannot be used, the loss became NaN, the disk is full, or
            somebody pressed Ctrl-C; the message says what to do.
        DataError: The data set cannot be read.
        ValueError: An option is out of range.

    Example:
        >>> record = train(TrainConfig(method="loss-only"), Path("runs/first"))  # doctest: +SKIP
    """
    rank_zero_only(check_folder)(config, out, resume=resume)
    checkpoint = find_checkpoint(out) if resume else None
    if config.hardware.threads:
        torch.set_num_threads(config.hardware.threads)
    train_set = _open(config, config.data.train_split)
    val_set = _open(config, config.data.val_split)
    module, record = _build(config, train_set, val_set, pretrained=checkpoint is None)
    rank_zero_only(claim_folder)(config, out)
    description = module.description
    data = SegmentationData(config, train_set, val_set, description.mean, description.std)
    keeper = RecordKeeper(record, out)
    with _quiet(), postponed_interrupt() as interrupt:
        trainer = _trainer(
            config,
            out,
            [
                keeper,
                ProgressReport(record, config.optimisation.steps),
                Checkpointing(config, record, interrupt, out),
            ],
        )
        record.environment = describe_environment(trainer.strategy.root_device, trainer.world_size)
        try:
            trainer.fit(module, data, ckpt_path=checkpoint)
            if not record.evaluations or record.evaluations[-1]["step"] < trainer.global_step:
                trainer.validate(module, data, verbose=False)
            if trainer.is_global_zero:
                record.examples = write_examples(module, val_set, out, config.reporting.examples)
            record.status = "finished"
        except BaseException as error:
            stopped = isinstance(error, RunInterruptedError | KeyboardInterrupt | SystemExit)
            record.status = "interrupted" if stopped else "failed"
            raise
        finally:
            keeper.write(trainer)
    return record


def _open(config: TrainConfig, split: str) -> SegmentationDataset:
    dataset = open_dataset(config.data, split)
    return CachedDataset(dataset) if config.hardware.cache else dataset


def _count_pixels(dataset: SegmentationDataset) -> Tensor:
    """Labelled pixels per image and class, (num_images, C) int64."""
    pixels = class_statistics(dataset).pixels
    if not pixels.any():
        raise TrainingError(
            f"{dataset.name} has no labelled pixel: every one of its {len(dataset)} masks is "
            "ignored; look at them with lossmaxpool inspect"
        )
    return pixels


def _check_crop(crop_size: tuple[int, int], stride: int) -> None:
    if any(side % stride for side in crop_size):
        raise TrainingError(
            f"optimisation.crop_size is {crop_size[0]} x {crop_size[1]}: this network needs "
            f"multiples of {stride}"
        )


def _build(
    config: TrainConfig,
    train_set: SegmentationDataset,
    val_set: SegmentationDataset,
    *,
    pretrained: bool,
) -> tuple[SegmentationModule, RunRecord]:
    method = METHODS[config.method]
    labels = train_set.labels
    train_pixels = _count_pixels(train_set)
    # The seed alone decides the initial weights: every method starts from the same ones.
    torch.manual_seed(mix(config.seed, 0))
    # A resumed run has all its weights in the checkpoint: nothing to fetch.
    network = config.model if pretrained else replace(config.model, weights="none")
    model: nn.Module = build_model(network, labels.num_classes)
    _check_crop(config.optimisation.crop_size, input_stride(model))
    if config.hardware.channels_last:
        model = model.to(memory_format=torch.channels_last)
    mean, std = normalization(config.model)
    description = ModelDescription(config.model, labels.names, labels.colors, mean, std)
    module = SegmentationModule(
        config,
        model,
        method.build(config.loss, train_pixels),
        description,
        train_set.sample_name,
    )
    record = RunRecord(
        # Until it has finished, a run is an interrupted one: a kill leaves no time to say so.
        status="interrupted",
        method=method.id,
        label=method.label,
        seed=config.seed,
        data={
            "name": config.data.name,
            "train_split": config.data.train_split,
            "val_split": config.data.val_split,
            "train_images": len(train_set),
            "val_images": len(val_set),
        },
        classes=list(labels.names),
        colors=[list(color) for color in labels.colors],
        train_pixels=train_pixels.sum(dim=0).tolist(),
        val_pixels=_count_pixels(val_set).sum(dim=0).tolist(),
        config=config.to_dict(),
        environment={},
    )
    return module, record


def _trainer(config: TrainConfig, out: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    hardware, steps = config.hardware, config.optimisation.steps
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
            val_check_interval=min(config.reporting.eval_every or steps, steps),
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
def _quiet() -> Iterator[None]:
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
