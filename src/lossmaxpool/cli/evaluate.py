"""Evaluate a run on one split of a data set, by default its own: IoU, precision, recall, Dice."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from lossmaxpool.atomic import write_atomically
from lossmaxpool.cli.network import (
    add_network,
    check_checkpoint,
    choose_device,
    data_of_the_run,
    show_progress,
)
from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.data import DataConfig, EvalTransform, open_dataset
from lossmaxpool.environment import describe_environment
from lossmaxpool.inference import InferenceConfig, evaluate, load_checkpoint
from lossmaxpool.metrics import ConfusionMatrix


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_config_file()
    add_network(parser)
    parser.add_argument("--split", type=str | None, default=None, help="default: data.val_split")
    parser.add_argument("--batch_size", type=int, default=4, help="images of one size at a time")
    parser.add_argument("--json", type=Path | None, default=None, help="file for the results")
    parser.add_class_arguments(DataConfig, "data")
    parser.add_class_arguments(InferenceConfig, "inference")
    parser.add_defaults(data_of_the_run)


def run(options: Namespace) -> None:
    """Evaluate, print the table, write the results if asked to."""
    check_checkpoint(options.run, options.checkpoint)
    device = choose_device(options.device)
    split = options.split or options.data.val_split
    dataset = open_dataset(options.data, split)
    trained = load_checkpoint(options.run, dataset.labels.names, device, which=options.checkpoint)
    sys.stdout.write(
        f"checkpoint  {trained.file}, after step {trained.step:,}\n"
        f"data        {options.data.name}: {dataset.name}, {len(dataset):,} images\n\n"
    )
    sys.stdout.flush()
    description = trained.description
    confusion = evaluate(
        trained.model,
        dataset,
        EvalTransform(description.mean, description.std),
        device,
        options.precision,
        options.batch_size,
        show_progress,
        options.inference,
    )
    if options.json is not None:
        content: dict[str, Any] = {
            "checkpoint": str(trained.file),
            "step": trained.step,
            "data": {"name": options.data.name, "split": split, "images": len(dataset)},
            "classes": list(dataset.labels.names),
            "iou": [None if math.isnan(value) else value for value in confusion.iou().tolist()],
            "miou": confusion.miou(),
            "pixel_accuracy": confusion.pixel_accuracy(),
            "confusion": confusion.counts.tolist(),
            "precision": options.precision,
            "inference": asdict(options.inference),
            "environment": describe_environment(device, 1),
        }
        write_atomically(options.json, json.dumps(content, indent=1).encode())
    sys.stdout.write(format_scores(dataset.labels.names, confusion))


def format_scores(names: tuple[str, ...], confusion: ConfusionMatrix) -> str:
    """Return the scores of each class, mIoU and pixel accuracy in percent, as lines of text.

    Of two classes the second, the foreground, comes first.

    Args:
        names: of the C classes.
        confusion: the counts.
    """
    columns = {
        "IoU": confusion.iou(),
        "precision": confusion.precision(),
        "recall": confusion.recall(),
        "Dice (F1)": confusion.dice(),
    }
    width = max(len(name) for name in (*names, "pixel accuracy"))
    lines = [f"{'class':{width}}" + "".join(f"  {title:>9}" for title in columns)]
    for c in (1, 0) if len(names) == 2 else range(len(names)):
        cells = [_percent(float(values[c])) for values in columns.values()]
        lines.append(f"{names[c]:{width}}" + "".join(f"  {cell:>9}" for cell in cells))
    for name, value in (("mIoU", confusion.miou()), ("pixel accuracy", confusion.pixel_accuracy())):
        lines.append(f"{name:{width}}  {_percent(value):>9}")
    if any(bool(values.isnan().any()) for values in columns.values()):
        lines.append(
            "-: undefined, as no pixel was predicted as the class (precision), none is labelled so "
            "(recall), or neither"
        )
    return "\n".join(lines) + "\n"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"
