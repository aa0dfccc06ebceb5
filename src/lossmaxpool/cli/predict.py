"""Predict a folder of images: id masks in OUT/ids, pictures to look at in OUT/overlays."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import Namespace

from lossmaxpool.cli.network import add_network, choose_device, show_progress
from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.inference import InferenceConfig, load_checkpoint, predict_folder


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    add_network(parser)
    parser.add_argument("images", type=Path, help="folder of images, searched through")
    parser.add_argument("--out", type=Path, required=True, help="folder for the predictions")
    parser.add_argument("--overwrite", action="store_true", help="write into a non-empty folder")
    parser.add_argument(
        "--submission",
        action="store_true",
        help="write the label ids that Cityscapes' servers expect",
    )
    parser.add_class_arguments(InferenceConfig, "inference")


def run(options: Namespace) -> None:
    """Predict, then say where the files are."""
    trained = load_checkpoint(options.checkpoint, device=choose_device(options.device))
    written = predict_folder(
        trained,
        options.images,
        options.out,
        overwrite=options.overwrite,
        precision=options.precision,
        progress=show_progress,
        config=options.inference,
        submission=options.submission,
    )
    sys.stdout.write(f"{len(written)} images predicted into {options.out}\n")
