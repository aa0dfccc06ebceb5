"""Train a grid of methods, exponents, supports and seeds, and write a table and a plot."""

from __future__ import annotations

import shlex
import sys

from jsonargparse import Namespace

from lossmaxpool.cli.compare import add_runs, shared_config
from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.runs.config import TrainConfig


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_recipe()
    parser.add_config_file()
    parser.add_output("the folder of the runs, the table and the plot", "sweep.yaml")
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
    add_runs(parser, seeds=(0,))
    for axis in ("p", "min_support"):
        parser.refuse(f"loss.{axis}", f"a sweep takes --{axis}, one value or several")


def run(options: Namespace) -> None:
    """Train the missing runs, then write and print the results."""
    # Imported here: help and errors need none of the training libraries.
    from lossmaxpool.report.sweep import sweep_table, write_sweep
    from lossmaxpool.training.sweep import Grid, plan, sweep

    config, out = shared_config(options), options.out
    grid = Grid(
        options.methods,
        [config.loss.p] if options.p is None else options.p,
        [config.loss.min_support] if options.min_support is None else options.min_support,
        options.seeds,
    )
    if options.dry_run and options.engine != "local":
        raise ValueError("--dry-run prints commands for any machine: leave out --engine")
    folders = sweep(
        config,
        grid,
        out,
        jobs=options.jobs,
        engine=options.engine,
        resume=options.resume,
        dry_run=options.dry_run,
    )
    if options.dry_run:
        sys.stdout.writelines(f"{command(*each, options)}\n" for each in plan(config, grid, out))
        return
    write_sweep(folders, out)
    sys.stdout.write(f"\n{sweep_table(folders)}\n\n{out}\n")


def command(config: TrainConfig, folder: object, options: Namespace) -> str:
    """Return the words that train one run by itself; they may be run again."""
    words = ["lossmaxpool", "train", "--config", str(options.out / "shared.yaml")]
    words += ["--method", config.method, "--seed", str(config.seed)]
    if config.chosen.max_pooled:
        words += ["--loss.p", f"{config.loss.p!r}"]
        words += ["--loss.min_support", f"{config.loss.min_support!r}"]
    return shlex.join([*words, "--out", str(folder), "--resume", "auto"])
