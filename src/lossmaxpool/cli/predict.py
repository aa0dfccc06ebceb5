"""Predict a folder of images or one image: ids in OUT/ids, pictures to look at in OUT/overlays."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import Namespace

from lossmaxpool.cli.network import (
    add_network,
    check_checkpoint,
    choose_device,
    run_options,
    show_progress,
)
from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.inference import InferenceConfig, load_checkpoint, predict_folder


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    add_network(parser)
    parser.add_argument("images", type=Path, help="a folder of images, searched through, or one")
    parser.add_argument("--out", type=Path, required=True, help="folder for the predictions")
    parser.add_argument("--overwrite", action="store_true", help="write into a non-empty folder")
    parser.add_argument(
        "--submission",
        action="store_true",
        help="write the label ids that Cityscapes' servers expect",
    )
    parser.add_argument(
        "--image_range",
        type=tuple[float, float] | None,
        default=None,
        help="values of black and white in 16-bit pictures; default: as the run was trained",
    )
    parser.add_class_arguments(InferenceConfig, "inference")


def run(options: Namespace) -> int:
    """Predict, then say where the files are; the status is 1 where an image was skipped."""
    check_checkpoint(options.run, options.checkpoint)
    device = choose_device(options.device)
    trained = load_checkpoint(options.run, device=device, which=options.checkpoint)
    image_range = options.image_range or run_options(options.run, "data").get("image_range")
    skipped: list[Path] = []

    def skip(file: Path, reason: str) -> None:
        skipped.append(file)
        sys.stderr.write(f"skipped: {reason}\n")

    written = predict_folder(
        trained,
        options.images,
        options.out,
        overwrite=options.overwrite,
        precision=options.precision,
        progress=show_progress,
        config=options.inference,
        submission=options.submission,
        image_range=None if image_range is None else (image_range[0], image_range[1]),
        on_damaged=skip,
    )
    images = "1 image" if len(written) == 1 else f"{len(written)} images"
    sys.stdout.write(
        f"{images} predicted into {options.out} by {trained.file}, step {trained.step:,}\n"
    )
    if skipped:
        sys.stderr.write(f"{len(skipped)} of {len(written) + len(skipped)} images were skipped\n")
    return 1 if skipped else 0
