"""From a configuration to a run folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from lossmaxpool.atomic import sweep_partial
from lossmaxpool.environment import describe_environment
from lossmaxpool.sampling import RunningIoU
from lossmaxpool.training.building import (
    build_module,
    build_sampler,
    check_crops,
    count_split,
    new_record,
    open_split,
)
from lossmaxpool.training.checkpointing import Checkpointing
from lossmaxpool.training.config import TrainConfig
from lossmaxpool.training.errors import RunInterruptedError, TrainingError
from lossmaxpool.training.evolution import EvolutionKeeper
from lossmaxpool.training.examples import write_examples
from lossmaxpool.training.feedback import SamplerFeedback
from lossmaxpool.training.folder import Resume, check_folder, claim_folder, find_checkpoint
from lossmaxpool.training.interrupts import postponed_interrupt
from lossmaxpool.training.loading import SegmentationData
from lossmaxpool.training.module import SegmentationModule
from lossmaxpool.training.progress import ProgressReport
from lossmaxpool.training.ranks import RanksAgree
from lossmaxpool.training.record import RunRecord
from lossmaxpool.training.recording import RecordKeeper
from lossmaxpool.training.trainer import check_workers, make_trainer, quiet
from lossmaxpool.training.waiting import LoaderWatch


def train(config: TrainConfig, out: Path, *, resume: Resume = False) -> RunRecord:
    """Train one method with one seed and leave a run folder behind.

    The folder holds config.yaml, record.json, checkpoints/, evolution/, examples/ and
    tensorboard/. A resumed run has the weights of one that was never interrupted, bit for bit on
    the CPU.

    Args:
        config: What to train, on what and how.
        out: The run folder; new or empty, unless resuming.
        resume: Go on from the last checkpoint in ``out``, which holds a run; "auto" also begins one
            where there is none.

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
    check_workers(config.hardware)
    rank_zero_only(check_folder)(config, out, resume=resume)
    if resume:
        rank_zero_only(sweep_partial)(out)
    checkpoint = find_checkpoint(out) if resume else None
    if config.hardware.threads:
        torch.set_num_threads(config.hardware.threads)
    train_set = open_split(config, config.data.train_split)
    val_set = open_split(config, config.data.val_split)
    train_pixels, val_pixels = count_split(config, train_set), count_split(config, val_set)
    module = build_module(config, train_set, train_pixels, pretrained=checkpoint is None)
    record = new_record(config, train_set, val_set, train_pixels, val_pixels)
    sampler = build_sampler(config, train_set, train_pixels)
    running_iou = RunningIoU(
        train_set.labels.num_classes,
        half_life=config.sampling.half_life * config.optimization.accumulate,
    )
    data = SegmentationData(
        config, train_set, val_set, sampler, module.description.mean, module.description.std
    )
    keeper, console = RecordKeeper(record, out), Console()
    with quiet(), postponed_interrupt() as interrupt:
        callbacks = [
            RanksAgree(train_pixels, val_pixels),
            SamplerFeedback(sampler, running_iou),
            EvolutionKeeper(record, train_set, out, config.reporting.evolution),
            keeper,
            ProgressReport(record, config.optimization.steps, console),
            Checkpointing(config, record, interrupt, out),
            # Last: what the others do between two steps is no waiting.
            LoaderWatch(record, config.hardware, console),
        ]
        trainer = make_trainer(config, out, callbacks, len(val_set))
        check_crops(module, config, trainer.world_size)
        rank_zero_only(claim_folder)(config, out)
        record.environment = describe_environment(trainer.strategy.root_device, trainer.world_size)
        try:
            _fit(trainer, module, data, record, checkpoint, out)
            record.status = "finished"
            keeper.write(trainer)
        except BaseException as error:
            stopped = isinstance(error, RunInterruptedError | KeyboardInterrupt | SystemExit)
            record.status = "interrupted" if stopped else "failed"
            # Where the disk is full, the first error says more than the second.
            with suppress(OSError):
                # A checkpoint that is refused leaves the record on the disk as it was.
                if checkpoint is None or keeper.restored:
                    keeper.write(trainer)
            if isinstance(error, OSError):
                raise TrainingError(
                    f"the run in {out} failed: {error}; its last good checkpoint is intact: "
                    "free the way and add --resume"
                ) from error
            raise
    return record


def _fit(
    trainer: pl.Trainer,
    module: SegmentationModule,
    data: SegmentationData,
    record: RunRecord,
    checkpoint: Path | None,
    out: Path,
) -> None:
    trainer.fit(module, data, ckpt_path=checkpoint)
    if not record.evaluations or record.evaluations[-1].step < trainer.global_step:
        trainer.validate(module, data, verbose=False)
    if trainer.is_global_zero:
        record.examples = write_examples(module, data.val, out, module.config.reporting.examples)
