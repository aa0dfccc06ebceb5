"""Lightning Fabric as a run needs it: devices, processes and their launchers."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import logging
import os
import re
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers import (  # type: ignore[attr-defined]
    CSVLogger,
    Logger,
    TensorBoardLogger,
)
from lightning.fabric.plugins.environments import (  # type: ignore[attr-defined]
    ClusterEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch import distributed as dist

from lossmaxpool.import_paths import reason_of
from lossmaxpool.ops.ranks import ranks
from lossmaxpool.processes import end_with_parent
from lossmaxpool.runs import TrainingError
from lossmaxpool.runs.config import HardwareConfig, TrainConfig
from lossmaxpool.sampling import ClassIndex

# How gloo and NCCL say that a process at the other end is gone.
_LOST = re.compile(r"closed by peer|reset by peer|Broken pipe|Socket closed|remote process exited")


def make_fabric(config: TrainConfig, val_images: int) -> Fabric:
    """Return the devices of a run; its other processes start with ``launch``.

    Raises:
        TrainingError: The hardware that was asked for is not there, a launcher has started another
            number of processes, or there are more of them than validation images.
    """
    hardware = config.hardware
    try:
        launched_by, launcher = _launcher()
        fabric = Fabric(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.num_nodes,
            strategy=hardware.strategy,
            precision="32-true" if hardware.precision == "32" else hardware.precision,
            # Filled once the run folder is claimed.
            loggers=[],
            plugins=[] if launcher is None else [launcher],
        )
    # RuntimeError: among others for a SLURM task layout that Lightning does not support.
    except (MisconfigurationException, RuntimeError, ValueError, TypeError) as error:
        raise TrainingError(f"Lightning refuses this hardware: {error}") from error
    if launcher is not None and launcher.world_size() != fabric.world_size:
        # Each process would train by itself, and all of them would write into one folder.
        raise TrainingError(
            f"{launched_by} has started {launcher.world_size()} processes, and hardware.devices "
            f"{hardware.devices} on hardware.num_nodes {hardware.num_nodes} with "
            f"hardware.strategy {hardware.strategy} makes {fabric.world_size}: give the "
            "processes of one machine as hardware.devices, the machines as "
            "hardware.num_nodes, and hardware.strategy ddp"
        )
    if val_images < fabric.world_size:
        raise TrainingError(
            f"{val_images} validation images for {fabric.world_size} processes: each needs one of "
            "its own; train on fewer devices, or validate on more images"
        )
    if fabric.world_size > 1 and (
        launched_by == "torchrun" or (not launched_by and fabric.local_rank > 0)
    ):
        # Not under SLURM, which ends the tasks of a step itself.
        end_with_parent()
    return fabric


def check_loggers(names: Sequence[str]) -> None:
    """Refuse loggers that are not installed."""
    for name in names:
        if name in ("wandb", "mlflow") and importlib.util.find_spec(name) is None:
            raise TrainingError(
                f"reporting.loggers has {name}, which is not installed: pip install {name}, or "
                "leave it out"
            )


def open_logger(name: str, out: Path) -> Logger:
    """Return a logger by its name.

    Raises:
        TrainingError: It cannot write where its environment variables say.
    """
    if name == "tensorboard":
        return TensorBoardLogger(out, name="", version="tensorboard")
    if name == "csv":
        # Each session has a file of its own: the logger would delete an earlier one.
        return CSVLogger(out, name="csv")
    # Slow to import, and only these need it.
    from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

    found: Any
    try:
        if name == "wandb":
            project = os.environ.get("WANDB_PROJECT", "lossmaxpool")
            found = WandbLogger(name=out.name, save_dir=out, project=project)
        else:
            # Without it, mlflow refuses to write files.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            server = os.environ.get("MLFLOW_TRACKING_URI")
            found = MLFlowLogger(
                os.environ.get("MLFLOW_EXPERIMENT_NAME", "lossmaxpool"),
                run_name=out.name,
                tracking_uri=server or (out / "mlruns").absolute().as_uri(),
            )
        # Its run begins now: a missing key or server must not come up in the first logged step.
        _ = found.experiment
        if name == "mlflow" and not server:
            # The logger has set it, for this process and its next run.
            os.environ.pop("MLFLOW_TRACKING_URI", None)
    except Exception as error:  # each library has its own kinds
        raise TrainingError(
            f"reporting.loggers has {name}, which fails with {reason_of(error)}: correct its "
            "environment variables, or leave it out"
        ) from error
    opened: Logger = found
    return opened


def close_logger(logger: Any, status: str) -> None:
    """Write what a logger holds, and end its run there."""
    # MLflow has no status for an interrupted run.
    logger.finalize({"interrupted": "KILLED"}.get(status, status))
    if type(logger).__name__ == "WandbLogger":
        # Else the next run of this process would write into the same one there.
        logger.experiment.finish(exit_code=0 if status == "finished" else 1)


def check_workers(hardware: HardwareConfig) -> None:
    """Refuse more worker processes than the machine can start in reasonable time."""
    cores = os.cpu_count() or 1
    if hardware.workers > 8 * cores:
        raise TrainingError(
            f"hardware.workers is {hardware.workers}, but this machine has {cores} cores: expected "
            f"at most {8 * cores}; one per core and device is usual"
        )


def check_ranks(step: int, *splits: Tensor) -> None:
    """Stop all processes of a run if the data of one differ from those of the first.

    Args:
        splits: The pixels per image and class of each split, (num_images, C) int64.

    Raises:
        ValueError: The processes see different masks.
        TrainingError: They go on from different steps.
    """
    for pixels in splits:
        ClassIndex(pixels).check_ranks()
    steps = ranks(True).each(step)
    if len(set(steps)) > 1:
        raise TrainingError(
            f"the processes go on from the steps {', '.join(map(str, steps))}: the run folder "
            "must be the same one for all of them, on a file system that they share"
        )


def any_rank(asked: bool, device: torch.device) -> bool:
    """Return whether any process of a run asks for something; every one must call it."""
    over = ranks(True)
    return asked if over.size == 1 else bool(over.max(torch.tensor(float(asked), device=device)))


def leave_group_at_exit() -> None:
    """Leave the group of processes before Python ends, once a run has finished.

    Else a thread of gloo may free a tensor while the interpreter is torn down, which aborts a
    process whose work is done (and torchrun with it).
    """

    def leave() -> None:
        gc.collect()  # DDP's reducer holds the group too
        if dist.is_initialized():
            dist.destroy_process_group()

    atexit.register(leave)


def share_buffers(model: nn.Module) -> None:
    """Give every process the batch statistics of the first one, whose checkpoint they become."""
    if dist.is_available() and dist.is_initialized():
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def lost_process(fabric: Fabric, error: BaseException, out: Path) -> TrainingError | None:
    """Return what to say if an error means that another process of the run has died."""
    if fabric.world_size == 1 or not (isinstance(error, RuntimeError) and _LOST.search(str(error))):
        return None
    dead = _dead_rank(fabric) or f"one of the {fabric.world_size} processes has ended"
    return TrainingError(
        f"{dead}, and the run in {out} stops with it: look for the reason in its output (a machine "
        "out of memory kills processes); --resume goes on from the last checkpoint"
    )


def _dead_rank(fabric: Fabric) -> str:
    """Name the first child of this process that has died; "" where a launcher has started them."""
    children = getattr(fabric.strategy.launcher, "procs", [])
    end = time.monotonic() + 2.0
    while children and time.monotonic() < end:
        for rank, child in enumerate(children, start=1):
            status = child.poll()
            if status:
                how = f"was killed by {signal.Signals(-status).name}" if status < 0 else "failed"
                return f"rank {rank} (process {child.pid}) {how}"
        time.sleep(0.05)
    return ""


def _launcher() -> tuple[str, ClusterEnvironment | None]:
    """Return the launcher of this process if it is one of several; of two, the nearer one."""
    if TorchElasticEnvironment.detect():
        return "torchrun", TorchElasticEnvironment()
    if SLURMEnvironment.detect():
        return "SLURM", SLURMEnvironment(auto_requeue=False)
    return "", None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's tips, and its warning about an old name of a class of torch."""
    # Fabric writes some of its tips by the logger of its sister package.
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
