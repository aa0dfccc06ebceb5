"""Train one method with one seed; the run folder holds config, record, checkpoints, examples."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import Namespace

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.runs import TrainingError
from lossmaxpool.runs.config import TrainConfig
from lossmaxpool.runs.folder import CONFIG
from lossmaxpool.runs.methods import method_names


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the run folder", CONFIG)
    parser.add_class_arguments(TrainConfig, as_group=False, skip={"losses"})
    parser.add_losses("method")
    # No defaults: data set and method must be given explicitly.
    parser.set_defaults({"data.name": None, "method": None})


def run(options: Namespace) -> None:
    """Train, then print the table of the run."""
    if options.method is None:
        raise TrainingError(
            f"no method: give --method, one of {', '.join(method_names(options.losses))}; "
            "lossmaxpool compare trains several"
        )
    # Imported here: help and errors need none of the training libraries.
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from lossmaxpool.training import train

    config = TrainConfig(**{key: options[key] for key in TrainConfig.__dataclass_fields__})
    train(config, options.out, resume=options.resume)
    rank_zero_only(_show)(options.out)


def _show(out: Path) -> None:
    from lossmaxpool.report import format_table

    sys.stdout.write(f"\n{format_table([out])}\n\n{out}\n")
