"""Evaluate a checkpoint on one split of a data set: per-class IoU, mIoU, pixel accuracy."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from lossmaxpool.atomic import write_atomically
from lossmaxpool.cli.network import add_network, choose_device, show_progress
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


def run(options: Namespace) -> None:
    """Evaluate, print the table, write the results if asked to."""
    split = options.split or options.data.val_split
    dataset = open_dataset(options.data, split)
    device = choose_device(options.device)
    trained = load_checkpoint(options.checkpoint, dataset.labels.names, device)
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
    sys.stdout.write(format_scores(dataset.labels.names, confusion))
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


def format_scores(names: tuple[str, ...], confusion: ConfusionMatrix) -> str:
    """Return per-class IoU, mIoU and pixel accuracy in percent, as lines of text."""
    rows = [*zip(names, confusion.iou().tolist(), strict=True)]
    rows += [("mIoU", confusion.miou()), ("pixel accuracy", confusion.pixel_accuracy())]
    width = max(len(name) for name, _ in rows)
    cells = [(name, "-" if math.isnan(value) else f"{100 * value:.1f}") for name, value in rows]
    return "".join(f"{name:{width}}  {cell:>5}\n" for name, cell in cells)
