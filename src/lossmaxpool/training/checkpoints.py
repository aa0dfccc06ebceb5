"""The state of a run and its checkpoints, which survive a full disk, a kill and foreign files."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from lossmaxpool.atomic import write_atomically
from lossmaxpool.diagnostics import SuspectedLabels
from lossmaxpool.inference.checkpoint import NETWORK
from lossmaxpool.models import ModelDescription
from lossmaxpool.models.weights import load_plain
from lossmaxpool.runs import CheckpointError, NonFiniteLossError, TrainingError
from lossmaxpool.runs.config import TrainConfig
from lossmaxpool.runs.folder import (
    BEST,
    LAST,
    NEXT,
    check_same_configuration,
    kept_checkpoints,
    kept_name,
)
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.sampling import PerformanceSampler, RunningIoU

# The name of the configuration in a checkpoint.
CONFIGURATION = "lossmaxpool_configuration"


@dataclass
class RunState:
    """All that changes while a run trains, and that a checkpoint must hold.

    Random numbers are pure functions of seed and step, so that no generator's state is among it.

    Args:
        model: The network; on its device.
        description: The network in plain values.
        criterion: The loss; one by import path may have buffers that change.
        running_iou: On the crops up to the last batch.
        record: The record; what it has gathered is part of the state, so that a resumed run has the
            record of one that was never interrupted.
        precision: Lightning's precision plugin, which may scale the loss.
        writes: Whether this process writes files: the first of several does.
        average: The moving average of the weights, if there is one.
        suspects: Of all processes, the pixels that carry the cap again and again.
    """

    config: TrainConfig
    folder: Path
    model: nn.Module
    description: ModelDescription
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    sampler: PerformanceSampler
    running_iou: RunningIoU
    record: RunRecord
    precision: Any
    step: int = 0
    writes: bool = True
    average: AveragedModel | None = None
    suspects: SuspectedLabels = field(default_factory=SuspectedLabels)
    _earlier_seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def result(self) -> nn.Module:
        """The network that is evaluated and used: the average of the weights, if there is one."""
        return self.model if self.average is None else self.average.module

    def stepped(self) -> None:
        """Count a step of the optimizer."""
        self.step += 1
        if self.average is not None:
            self.average.update_parameters(self.model)

    def restore(self) -> None:
        """Go on from the last checkpoint of the folder.

        Raises:
            CheckpointError: It is damaged, or would execute code.
            TrainingError: It is the state of another run: of other classes, of another
                configuration, or of another version of the package.
            ValueError: The masks are not those that the run began with.
        """
        content = read_checkpoint(self.folder / LAST)
        check_checkpoint(content, self.config, self.description)
        self.step = content["global_step"]
        self.sampler.load_state_dict(content["sampler"])
        self.running_iou.load_state_dict(content["running_iou"])
        weights = {
            name.removeprefix(NETWORK): value for name, value in content["state_dict"].items()
        }
        self.result.load_state_dict(weights)
        if self.average is not None:
            self.model.load_state_dict(content["trained"])
            self.average.n_averaged.fill_(content["averaged"])
        self.optimizer.load_state_dict(content["optimizer"])
        if "criterion" in content:
            self.criterion.load_state_dict(content["criterion"])
        if "suspects" in content:
            self.suspects.load_state_dict(content["suspects"])
        self.precision.load_state_dict(content["precision"])
        self.record.take(content["record"])
        self._earlier_seconds = self.record.seconds

    def save(self, name: str = LAST) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            NonFiniteLossError: A weight is NaN or infinite; the checkpoint before stays.
            CheckpointError: It could not be written; the checkpoint before is intact.
        """
        # A finite loss may still leave a weight that is not: such a state must not replace a good
        # checkpoint.
        weights = {f"{NETWORK}{key}": value for key, value in self.result.state_dict().items()}
        trained = self.model.state_dict() if self.average is not None else {}
        broken = [
            key for key, value in [*weights.items(), *trained.items()] if not value.isfinite().all()
        ]
        if broken:
            raise NonFiniteLossError(
                f"{len(broken)} weights are NaN or infinite after step {self.step}, {broken[0]} "
                "among them: lower optimization.lr or add optimization.warmup; the last good "
                "checkpoint was kept"
            )
        if not self.writes:
            return
        self.record.seconds = self._seconds()
        content = {
            ModelDescription.KEY: self.description.as_dict(),
            CONFIGURATION: self.config.to_dict(),
            "global_step": self.step,
            "state_dict": weights,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "sampler": self.sampler.state_dict(),
            "running_iou": self.running_iou.state_dict(),
            "record": self.record.gathered(),
            "suspects": self.suspects.state_dict(),
            "criterion": self.criterion.state_dict(),
        }
        if self.average is not None:
            # The state_dict is what is used; these are what training goes on with.
            content |= {"trained": trained, "averaged": int(self.average.n_averaged)}
        write_checkpoint(self.folder / name, content)

    def save_evaluated(self) -> None:
        """Save the state after an evaluation, which a kill either repeats or keeps whole."""
        self.save(NEXT)
        self.keep(NEXT)
        if self.writes:
            (self.folder / NEXT).replace(self.folder / LAST)

    def keep(self, name: str) -> None:
        """Copy the checkpoint that was evaluated to where it stays.

        That is best.ckpt for the best mIoU so far, and a file of its own where the configuration
        keeps the last few: their scores under another tiling can then be had after training (Rota
        Bulò et al. 2017, Tables 1 and 3).
        """
        if not self.writes:
            return
        scores = [evaluation.miou for evaluation in self.record.evaluations]
        number = self.config.reporting.keep_checkpoints
        copies = [BEST] if scores[-1] == max(scores) else []
        copies += [kept_name(self.step)] if number else []
        for copy in copies:
            write_atomically(self.folder / copy, (self.folder / name).read_bytes())
        if number:
            for old in kept_checkpoints(self.folder)[:-number]:
                old.unlink()

    def write_record(self) -> None:
        """Bring the record on the disk up to date."""
        self.record.seconds = self._seconds()
        if self.writes:
            self.record.write(self.folder)

    def _seconds(self) -> float:
        return round(self._earlier_seconds + time.monotonic() - self._started, 1)


def check_checkpoint(
    content: dict[str, Any], config: TrainConfig, description: ModelDescription
) -> None:
    """Refuse the state of another run."""
    trained = ModelDescription.from_dict(content[ModelDescription.KEY]).classes
    if trained != description.classes:
        raise TrainingError(
            f"the checkpoint was trained on the {len(trained)} classes {', '.join(trained)}; the "
            f"data set has the {len(description.classes)} classes "
            f"{', '.join(description.classes)}: resume with the data that the run began with, or "
            "train into a new folder"
        )
    if CONFIGURATION not in content or "sampler" not in content:
        raise TrainingError(
            "the checkpoint does not say of which run it is: it was saved by another version of "
            "lossmaxpool; train into a new folder"
        )
    check_same_configuration(config, content[CONFIGURATION], "the checkpoint is that of a run")


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint beside its destination and rename it.

    Raises:
        CheckpointError: It could not be written; the one that was there is intact.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        last = path.with_name(Path(LAST).name)
        survivor = (
            f"the last good checkpoint, {last}, is intact: free some space and resume from it"
            if last.exists()
            else "there is no earlier checkpoint: free some space and start again"
        )
        raise CheckpointError(
            f"a checkpoint of {buffer.tell() / 2**20:.1f} MiB could not be written to {path}: "
            f"{error.strerror or error}; {survivor}"
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as tensors and plain values, never as code.

    Raises:
        CheckpointError: It is damaged, or would execute code.
    """
    try:
        loaded = load_plain(path)
    except ValueError as error:
        raise CheckpointError(
            f"{error}; put {BEST} in its place, or train into a new folder"
        ) from error
    assert isinstance(loaded, dict)
    return loaded
