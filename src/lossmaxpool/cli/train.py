"""Train one method with one seed; the run folder holds config, record, checkpoints, examples."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

from jsonargparse import Namespace
from lightning.fabric.utilities.rank_zero import rank_zero_only

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.report import format_table
from lossmaxpool.training import TrainConfig, TrainingError, train
from lossmaxpool.training.config import MethodId
from lossmaxpool.training.folder import CONFIG


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the run folder", CONFIG)
    parser.add_class_arguments(TrainConfig, as_group=False)
    # A data set and a method that nobody named would train something that nobody wanted.
    parser.set_defaults({"data.name": None, "method": None})


def run(options: Namespace) -> None:
    """Train, then print the table of the run."""
    if options.method is None:
        raise TrainingError(
            f"no method: give --method, one of {', '.join(get_args(MethodId))}; "
            "lossmaxpool compare trains several"
        )
    config = TrainConfig(**{key: options[key] for key in TrainConfig.__dataclass_fields__})
    train(config, options.out, resume=options.resume)
    _show(options.out)


@rank_zero_only
def _show(out: Path) -> None:
    sys.stdout.write(f"\n{format_table([out])}\n\n{out}\n")
