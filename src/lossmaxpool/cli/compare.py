"""Train several methods under the same seeds, and write report.html and summary.json."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.runs.config import EngineName, TrainConfig
from lossmaxpool.runs.folder import Resume
from lossmaxpool.runs.methods import DEFAULT_METHODS, method_names

# The options in which the runs differ.
_OWN = {"method", "seed"}


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the folder of the runs and the report", "compare.yaml")
    parser.add_argument(
        "--tune-lr",
        dest="tune_lr",
        action="store_true",
        help="let every method find its own learning rate first, by the same small budget",
    )
    parser.add_argument(
        "--tune_steps",
        type=PositiveInt | None,
        default=None,
        help="with --tune-lr, the steps at each rate; a quarter of the run's if not given",
    )
    add_runs(parser, seeds=(0, 1))


def add_runs(parser: CommandParser, seeds: Sequence[int]) -> None:
    """Add the methods, the seeds, by default these, and everything that the runs share."""
    parser.add_argument(
        "--methods",
        type=list[str],
        default=list(DEFAULT_METHODS),
        help=", ".join(method_names({})),
    )
    parser.add_losses("methods")
    parser.add_argument("--seeds", type=list[int], default=list(seeds), help="one run each")
    parser.add_argument(
        "--jobs",
        type=PositiveInt | None,
        default=None,
        help="runs at the same time; one if not given, on Ray as many as the cluster has room for",
    )
    parser.add_argument(
        "--engine",
        type=EngineName,
        default="local",
        help="where to train: this machine, or the Ray cluster at RAY_ADDRESS",
    )
    parser.add_class_arguments(TrainConfig, as_group=False, skip={*_OWN, "losses"})
    parser.set_defaults({"data.name": None})
    parser.refuse("method", "give --methods")
    parser.refuse("seed", "give --seeds")


def shared_config(options: Namespace) -> TrainConfig:
    """Return what the runs share; its method and seed mean nothing."""
    shared = TrainConfig.__dataclass_fields__.keys() - _OWN
    return TrainConfig(**{key: options[key] for key in shared})


def run(options: Namespace) -> None:
    """Train the missing runs, write the report and print the table."""
    if options.tune_steps is not None and not options.tune_lr:
        raise ValueError("--tune_steps has no effect without --tune-lr: give both, or neither")
    compare_and_report(
        shared_config(options),
        options.methods,
        options.seeds,
        options.out,
        jobs=options.jobs,
        engine=options.engine,
        resume=options.resume,
        tune_lr=options.tune_lr,
        tune_steps=options.tune_steps,
    )


def compare_and_report(
    config: TrainConfig,
    methods: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int | None = None,
    engine: EngineName = "local",
    resume: Resume = False,
    tune_lr: bool = False,
    tune_steps: int | None = None,
) -> None:
    """Train, report, print: what ``compare`` and ``demo`` have in common.

    Args:
        config: What the runs share.
        methods: The methods.
        seeds: The seeds.
        out: The folder of the runs and the report.
        jobs: Runs at the same time; None leaves it to the engine.
        engine: Where they are trained.
        resume: Go on with what is in ``out``.
        tune_lr: Let every method find its own learning rate first.
        tune_steps: Steps at each rate.

    Raises:
        TrainingError: ``out`` cannot be used, or a run stopped.
    """
    # Imported here: help and errors need none of the training libraries.
    from lossmaxpool.report import format_table, write_report
    from lossmaxpool.training import compare
    from lossmaxpool.training.tuning import tuning_table

    folders = compare(
        config,
        methods,
        seeds,
        out,
        jobs=jobs,
        engine=engine,
        resume=resume,
        tune_lr=tune_lr,
        tune_steps=tune_steps,
    )
    report = write_report(folders, out)
    rates = tuning_table(out)
    sys.stdout.write(f"\n{format_table(folders)}\n\n{rates}{rates and chr(10) * 2}{report}\n")
