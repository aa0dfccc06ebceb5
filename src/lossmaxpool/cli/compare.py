"""Train several methods under the same seeds, and write report.html and summary.json."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.report import format_table, write_report
from lossmaxpool.training import TrainConfig, compare
from lossmaxpool.training.compare import plan_comparison
from lossmaxpool.training.config import MethodId
from lossmaxpool.training.folder import claim_output

SAVED = "compare.yaml"
# What the runs of a comparison do not share.
_OWN = {"method", "seed"}


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the folder of the runs and the report", SAVED)
    parser.add_argument(
        "--methods",
        type=list[MethodId],
        default=["base", "loss-only"],
        help=", ".join(get_args(MethodId)),
    )
    parser.add_argument("--seeds", type=list[int], default=[0, 1], help="one run each per method")
    parser.add_argument("--jobs", type=PositiveInt, default=1, help="runs at the same time")
    parser.add_class_arguments(TrainConfig, as_group=False, skip=_OWN)


def run(options: Namespace) -> None:
    """Train what is not yet trained, report, print the table."""
    shared = TrainConfig.__dataclass_fields__.keys() - _OWN
    config = TrainConfig(**{key: options[key] for key in shared})
    compare_and_report(
        config,
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
    resume: bool = False,
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
    shared = {key: value for key, value in config.to_dict().items() if key not in _OWN}
    saved = {"methods": list(methods), "seeds": list(seeds), **shared}
    planned = plan_comparison(config, methods, seeds, out)
    claim_output(out, {SAVED: saved}, planned, resume=resume)
    runs = compare(config, methods, seeds, out, jobs=jobs, resume=True)
    report = write_report(runs, out)
    sys.stdout.write(f"\n{format_table(runs)}\n\n{report}\n")
