"""Train a grid of methods, exponents, supports and seeds, and write a table and a plot."""

from __future__ import annotations

import shlex
import sys

from jsonargparse import Namespace

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.cli.several import add_runs, shared_config, shared_options
from lossmaxpool.report.sweep import sweep_table, write_sweep
from lossmaxpool.runs.config import MAX_POOLED
from lossmaxpool.runs.folder import claimed_output
from lossmaxpool.training import TrainConfig
from lossmaxpool.training.many import train_all
from lossmaxpool.training.sweep import Grid, plan

SAVED = "sweep.yaml"
SHARED = "shared.yaml"


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the folder of the runs, the table and the plot", SAVED)
    parser.add_argument(
        "--p", type=list[float] | None, default=None, help="norm exponents, 1.3 if not given"
    )
    parser.add_argument(
        "--min_support",
        type=list[float] | None,
        default=None,
        help="shares of the pixels, m / n; 0.25 if not given",
    )
    parser.add_argument(
        "--dry-run",
        dest="dry_run",
        action="store_true",
        help="train nothing; print one command per run, for a cluster",
    )
    add_runs(parser, methods=("lmp",), seeds=(0,))
    for axis in ("p", "min_support"):
        parser.refuse(f"loss.{axis}", f"a sweep takes --{axis}, one value or several")


def run(options: Namespace) -> None:
    """Train what is not yet trained, then write and print what came out."""
    config = shared_config(options)
    grid = Grid(
        options.methods,
        [config.loss.p] if options.p is None else options.p,
        [config.loss.min_support] if options.min_support is None else options.min_support,
        options.seeds,
    )
    runs = plan(config, grid, options.out)
    common = shared_options(config)
    axes = {name: list(getattr(grid, name)) for name in Grid.__dataclass_fields__}
    saved = {SHARED: common, SAVED: axes | common}
    with claimed_output(options.out, saved, runs, resume=options.resume):
        if options.dry_run:
            sys.stdout.writelines(f"{command(*each, options)}\n" for each in runs)
            return
        train_all(runs, jobs=options.jobs)
    folders = [folder for _, folder in runs]
    write_sweep(folders, options.out)
    sys.stdout.write(f"\n{sweep_table(folders)}\n\n{options.out}\n")


def command(config: TrainConfig, folder: object, options: Namespace) -> str:
    """The words that train one run by itself, whoever runs them; they may be run again."""
    words = ["lossmaxpool", "train", "--config", str(options.out / SHARED)]
    words += ["--method", config.method, "--seed", str(config.seed)]
    if config.method in MAX_POOLED:
        words += ["--loss.p", f"{config.loss.p!r}"]
        words += ["--loss.min_support", f"{config.loss.min_support!r}"]
    return shlex.join([*words, "--out", str(folder), "--resume", "auto"])
