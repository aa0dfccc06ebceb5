"""The options of the commands that use a trained network."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.inference import Precision


def add_network(parser: CommandParser) -> None:
    """Add the checkpoint, and where and how exactly it computes."""
    parser.add_argument(
        "checkpoint", type=Path, help="a run folder (its best checkpoint) or a checkpoint file"
    )
    parser.add_argument(
        "--device", default="auto", help='"auto" (a GPU where there is one), "cpu", "cuda", ...'
    )
    parser.add_argument("--precision", type=Precision, default="fp32", help="of the arithmetic")


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
