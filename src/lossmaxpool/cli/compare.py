"""Train several methods under the same seeds, and write report.html and summary.json."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.cli.several import add_runs, shared_config, shared_options
from lossmaxpool.report import format_table, write_report
from lossmaxpool.training import TrainConfig
from lossmaxpool.training.compare import plan_comparison
from lossmaxpool.training.config import MethodId
from lossmaxpool.training.folder import Resume, claimed_output
from lossmaxpool.training.many import train_all

SAVED = "compare.yaml"


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the folder of the runs and the report", SAVED)
    add_runs(parser, methods=("base", "loss-only"), seeds=(0, 1))


def run(options: Namespace) -> None:
    """Train what is not yet trained, report, print the table."""
    compare_and_report(
        shared_config(options),
        options.methods,
        options.seeds,
        options.out,
        jobs=options.jobs,
        resume=options.resume,
    )


def compare_and_report(
    config: TrainConfig,
    methods: Sequence[MethodId],
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int = 1,
    resume: Resume = False,
) -> None:
    """Train, report, print: what ``compare`` and ``demo`` have in common.

    Args:
        config: What the runs share.
        methods: The methods.
        seeds: The seeds.
        out: The folder of the runs and the report.
        jobs: Runs at the same time.
        resume: Go on with what is in ``out``.

    Raises:
        TrainingError: ``out`` cannot be used, or a run stopped.
    """
    runs = plan_comparison(config, methods, seeds, out)
    saved = {"methods": list(methods), "seeds": list(seeds), **shared_options(config)}
    with claimed_output(out, {SAVED: saved}, runs, resume=resume):
        train_all(runs, jobs=jobs)
    folders = [folder for _, folder in runs]
    report = write_report(folders, out)
    sys.stdout.write(f"\n{format_table(folders)}\n\n{report}\n")
