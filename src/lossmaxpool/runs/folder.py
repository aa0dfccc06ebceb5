"""The files of a run folder, who may write into it, and from where a run goes on.

A run folder holds config.yaml, record.json, checkpoints/, examples/, evolution/ and tensorboard/;
the folder of several runs holds one of these for each, and the options that they share.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import yaml

from lossmaxpool.atomic import write_atomically
from lossmaxpool.runs import TrainingError
from lossmaxpool.runs.config import NEUTRAL, TrainConfig, differences
from lossmaxpool.runs.record import RECORD

CONFIG = "config.yaml"
# Whether to go on with what is in a folder; "auto" also begins where there is nothing yet.
Resume = bool | Literal["auto"]
# The checkpoints: the latest state; the one that becomes it once all that follows from it is done;
# the state with the best mIoU.
LAST = "checkpoints/last.ckpt"
NEXT = "checkpoints/next.ckpt"
BEST = "checkpoints/best.ckpt"


def kept_name(step: int) -> str:
    """Return the name of the checkpoint that stays after the evaluation at a step.

    Example:
        >>> kept_name(165_000)
        'checkpoints/step-00165000.ckpt'
    """
    return f"checkpoints/step-{step:08d}.ckpt"


def kept_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of single evaluations in a run folder, the earliest first."""
    return sorted(folder.glob("checkpoints/step-" + "[0-9]" * 8 + ".ckpt"))


def find_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint from which a run goes on, or None for one from the start."""
    checkpoint = folder / LAST
    return checkpoint if checkpoint.is_file() else None


def check_folder(config: TrainConfig, folder: Path, *, resume: Resume) -> None:
    """Refuse a run folder that is not the run's own, before any work is done.

    Raises:
        TrainingError: The folder is not empty and nobody asked to resume, there is nothing to
            resume, or it holds a run with another configuration.
    """
    if resume and (folder / CONFIG).is_file():
        if not is_unused(folder):
            check_same_run(config, folder)
    elif folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is a file: choose a new folder")
    elif not is_unused(folder):
        raise TrainingError(
            f"{folder} is not empty: choose a new folder"
            + (f"; it holds no {CONFIG} to resume from" if resume else ", or add --resume")
        )
    elif resume is True:
        raise nothing_to_resume(folder)


def nothing_to_resume(folder: Path) -> TrainingError:
    """Return the error of a folder without a run: most likely, its name is mistyped."""
    return TrainingError(
        f"there is nothing to resume in {folder}: check the name of the folder; without --resume "
        "a run begins there, and with --resume auto it begins or goes on"
    )


def claim_folder(config: TrainConfig, folder: Path) -> None:
    """Make the folder and save the resolved configuration in it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CONFIG, yaml.safe_dump(config.to_dict(), sort_keys=False).encode())


@contextmanager
def claimed_output(
    out: Path,
    saved: Mapping[str, Mapping[str, Any]],
    runs: Sequence[tuple[TrainConfig, Path]],
    *,
    resume: Resume,
) -> Iterator[None]:
    """Make the folder of several runs and save its options in it.

    Where an error ends the block before any run has begun, the folder is left as it was found: the
    corrected command may use it.

    Args:
        out: New or empty, unless resuming.
        saved: What each YAML file in it holds.

    Raises:
        TrainingError: The folder is not empty and nobody asked to resume, there is nothing to
            resume, or one of the runs has begun with another configuration.
    """
    unused = check_output(out, saved, resume=resume)
    for config, folder in runs:
        # Before the options that the runs began with are overwritten.
        if (folder / CONFIG).is_file() and not is_unused(folder):
            check_same_run(config, folder)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in saved.items():
        write_atomically(out / name, yaml.safe_dump(content, sort_keys=False).encode())
    try:
        yield
    except BaseException:
        if unused and not any(folder.exists() for _, folder in runs):
            with suppress(OSError):
                for name in saved:
                    (out / name).unlink()
                out.rmdir()
        raise


def check_output(out: Path, saved: Collection[str], *, resume: Resume) -> bool:
    """Refuse a folder of several runs, or return whether it holds nothing that could be lost."""
    unused = is_unused(out, saved)
    if not resume and not unused:
        raise TrainingError(f"{out} is not empty: choose a new folder, or add --resume")
    if resume is True and (not out.exists() or not any(out.iterdir())):
        raise nothing_to_resume(out)
    return unused


def is_unused(folder: Path, saved: Collection[str] = ()) -> bool:
    """Return whether a folder holds nothing that could be lost.

    That is one that does not exist, an empty one, and what a start that failed has left: a run that
    ended with an error before its first checkpoint, or several of them.

    Args:
        saved: The names of the files of options, for several runs.
    """
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    entries = list(folder.iterdir())
    if (folder / CONFIG).is_file():
        return _failed_at_the_start(folder)
    runs = [entry for entry in entries if entry.is_dir()]
    files = {entry.name for entry in entries} - {run.name for run in runs}
    return not entries or (
        bool(runs)
        and files <= set(saved)
        and all((run / CONFIG).is_file() and is_unused(run) for run in runs)
    )


def _failed_at_the_start(folder: Path) -> bool:
    try:
        status = json.loads((folder / RECORD).read_text("utf-8"))["status"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return status == "failed" and not any(folder.glob("checkpoints/*.ckpt"))


def check_same_run(config: TrainConfig, folder: Path) -> None:
    """Refuse to go on with a run under another configuration."""
    saved = yaml.safe_load((folder / CONFIG).read_text("utf-8"))
    check_same_configuration(config, saved, f"{folder} holds a run")


def check_same_configuration(config: TrainConfig, saved: Mapping[str, Any], what: str) -> None:
    """Refuse what was saved under another configuration.

    Args:
        saved: The other one, from ``TrainConfig.to_dict``.
        what: What was saved, for the message.
    """
    try:
        # Options that the version of the run did not have yet get their defaults.
        found = differences(TrainConfig.from_dict(saved).to_dict(), config.to_dict())
    except ValueError as error:
        raise TrainingError(
            f"{what} whose configuration this version cannot read ({error}): "
            "train into a new folder"
        ) from error
    blocking = {key: change for key, change in found.items() if key not in NEUTRAL}
    if blocking:
        changes = "; ".join(f"{key}: {change}" for key, change in blocking.items())
        raise TrainingError(
            f"{what} with another configuration ({changes}): "
            "resume it as it was, or train into a new folder"
        )
