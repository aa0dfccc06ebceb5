"""The options of the commands that use a trained network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.inference import Precision, Which
from lossmaxpool.inference.checkpoint import run_folder


def add_run(parser: CommandParser, *, optional: bool = False) -> None:
    """Add the run and its checkpoint."""
    if optional:
        parser.add_argument(
            "run", type=Path | None, nargs="?", default=None, help="a run folder, or a checkpoint"
        )
    else:
        parser.add_argument("run", type=Path, help="a run folder, or a checkpoint file")
    parser.add_argument(
        "--checkpoint",
        type=Which,
        default="last",
        help="of a run folder: last is the one that its report scores, best the one with the best "
        "mIoU, chosen on the validation images",
    )


def add_network(parser: CommandParser, *, optional: bool = False) -> None:
    """Add the run, its checkpoint, and where and how exactly it computes."""
    add_run(parser, optional=optional)
    parser.add_argument(
        "--device", default="auto", help='"auto" (a GPU where there is one), "cpu", "cuda", ...'
    )
    parser.add_argument("--precision", type=Precision, default="fp32", help="of the arithmetic")


def check_checkpoint(run: Path, checkpoint: Which) -> None:
    """Refuse to take the best checkpoint of a file.

    Raises:
        ValueError: a file was given together with ``--checkpoint best``.
    """
    if run.is_file() and checkpoint != "last":
        raise ValueError(
            f"{run} is a checkpoint itself: leave out --checkpoint, or give its run folder"
        )


def run_options(run: Path, group: str) -> dict[str, Any]:
    """Return a group of the options that a run was trained with; empty where no run says so."""
    folder = run_folder(run)
    if folder is None:
        return {}
    saved = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    found = saved.get(group, {}) if isinstance(saved, dict) else {}
    return dict(found)


def data_of_the_run(given: Namespace) -> dict[str, dict[str, Any]]:
    """Return the run's own data set, unless another one is asked for."""
    if given.run is None:
        return {}
    saved = run_options(given.run, "data")
    name, root = given.data.name, given.data.root
    another = name not in (None, saved.get("name"))
    # Scenes are drawn: a folder is another data set.
    another |= name is None and root is not None and saved.get("name") == "street-scenes"
    return {} if another else {"data": saved}


def choose_device(name: str) -> torch.device:
    """Return the device of a ``--device`` option.

    Raises:
        ValueError: torch does not know it, or this machine does not have it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--device {name} cannot be used ({reason}): give auto, cpu, or cuda on a machine "
            "with a GPU"
        ) from error
    return device


def show_progress(done: int, total: int) -> None:
    """Count images on one line of a terminal; say nothing elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done}/{total} images" + ("\n" if done == total else ""))
