"""Inspect a data set: class shares, rare classes and label problems, before any training."""

from __future__ import annotations

import sys

from jsonargparse import Namespace

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.data import DataConfig, open_dataset
from lossmaxpool.data.inspection import format_report, inspect_data


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_config_file()
    parser.add_class_arguments(DataConfig, "data")


def run(options: Namespace) -> int:
    """Print the tables and the problems; the status is 1 where training would be wrong."""
    config = options.data
    splits = dict.fromkeys((config.train_split, config.val_split))
    inspection = inspect_data(*(open_dataset(config, split) for split in splits))
    sys.stdout.write(f"{format_report(inspection)}\n")
    return 0 if inspection.ok else 1
