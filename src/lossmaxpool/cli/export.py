"""Export a trained network: ONNX, torch.export or safetensors, with its preprocessing as JSON."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import Namespace

from lossmaxpool.cli.network import add_run, check_checkpoint
from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.inference import load_checkpoint
from lossmaxpool.inference.export import SUFFIX, Format, export_network


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    add_run(parser)
    parser.add_argument("--format", type=Format, default="onnx", help=", ".join(SUFFIX))
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="the file; default: named as the checkpoint, in the folder export of the run",
    )
    parser.add_argument(
        "--size",
        type=tuple[int, int] | None,
        default=None,
        help="the only height and width that the network will take; default: any",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def run(options: Namespace) -> None:
    """Export, check, and say where the files are."""
    check_checkpoint(options.run, options.checkpoint)
    trained = load_checkpoint(options.run, which=options.checkpoint)
    out = options.out
    if out is None:
        # RUN/checkpoints/last.ckpt -> RUN/export/last.onnx; another file: beside it.
        folder = trained.file.parent
        place = folder.parent / "export" if folder.name == "checkpoints" else folder
        out = place / f"{trained.file.stem}{SUFFIX[options.format]}"
    beside = export_network(
        trained, out, options.format, size=options.size, overwrite=options.overwrite
    )
    sys.stdout.write(
        f"{out}\n{beside}\n"
        f"the network of {trained.file} after step {trained.step:,}; its logits were compared\n"
    )
