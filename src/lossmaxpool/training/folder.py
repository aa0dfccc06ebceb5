"""Who may write into a run folder, and from where a run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lossmaxpool.atomic import write_atomically
from lossmaxpool.training.checkpoints import LAST
from lossmaxpool.training.config import TrainConfig, differences
from lossmaxpool.training.errors import TrainingError

CONFIG = "config.yaml"
# What may change between two sessions of one run: where it computes and how often it reports.
_FREE = (
    "hardware.accelerator",
    "hardware.devices",
    "hardware.num_nodes",
    "hardware.strategy",
    "hardware.workers",
    "hardware.threads",
    "hardware.cache",
    "reporting.checkpoint_every",
    "reporting.keep_checkpoints",
    "reporting.evolution",
    "reporting.examples",
)


def check_folder(config: TrainConfig, folder: Path, *, resume: bool) -> None:
    """Refuse a run folder that is not the run's own, before any work is done.

    Args:
        config: The run that is about to start.
        folder: Its folder.
        resume: Whether to go on with what is in it.

    Raises:
        TrainingError: The folder is not empty and nobody asked to resume, or it holds a run with
            another configuration.
    """
    if resume and (folder / CONFIG).is_file():
        check_same_run(config, folder)
    elif folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is a file: choose a new folder")
    elif not is_unused(folder):
        raise TrainingError(
            f"{folder} is not empty: choose a new folder"
            + (f"; it holds no {CONFIG} to resume from" if resume else ", or add --resume")
        )


def claim_folder(config: TrainConfig, folder: Path) -> None:
    """Make the folder and save the resolved configuration in it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CONFIG, yaml.safe_dump(config.to_dict(), sort_keys=False).encode())


def claim_output(
    out: Path,
    saved: Mapping[str, Mapping[str, Any]],
    runs: Sequence[tuple[TrainConfig, Path]],
    *,
    resume: bool,
) -> None:
    """Make the folder of several runs and save its options in it.

    Args:
        out: New or empty, unless resuming.
        saved: What each YAML file in it holds.
        runs: Configurations and run folders.
        resume: Go on with what is in it.

    Raises:
        TrainingError: The folder is not empty and nobody asked to resume, or one of the runs has
            begun with another configuration.
    """
    if not resume and not is_unused(out):
        raise TrainingError(f"{out} is not empty: choose a new folder, or add --resume")
    for config, folder in runs:
        # Before the options that the runs began with are overwritten.
        if (folder / CONFIG).is_file():
            check_same_run(config, folder)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in saved.items():
        write_atomically(out / name, yaml.safe_dump(content, sort_keys=False).encode())


def find_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint from which a run goes on, or None for one from the start."""
    checkpoint = folder / LAST
    return checkpoint if checkpoint.is_file() else None


def is_unused(folder: Path) -> bool:
    """Return whether nothing is there yet, or an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def check_same_run(config: TrainConfig, folder: Path) -> None:
    """Refuse to go on with a run under another configuration.

    Raises:
        TrainingError: Something that decides the result differs from the saved configuration.
    """
    saved = yaml.safe_load((folder / CONFIG).read_text())
    check_same_configuration(config, saved, f"{folder} holds a run")


def check_same_configuration(config: TrainConfig, saved: Mapping[str, Any], what: str) -> None:
    """Refuse what was saved under another configuration.

    Args:
        config: That of the run.
        saved: The other one, from ``TrainConfig.to_dict``.
        what: What was saved, for the message.

    Raises:
        TrainingError: Something that decides the result differs.
    """
    found = differences(saved, config.to_dict())
    blocking = {key: change for key, change in found.items() if key not in _FREE}
    if blocking:
        changes = "; ".join(f"{key}: {change}" for key, change in blocking.items())
        raise TrainingError(
            f"{what} with another configuration ({changes}): "
            "resume it as it was, or train into a new folder"
        )
