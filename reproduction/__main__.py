"""``python -m reproduction tables|figures``: the paper's tables and figures beside run folders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lossmaxpool.runs import RecordError
from reproduction import figures
from reproduction.runs import CheckpointWindow, FoundRuns, find_runs
from reproduction.tables import paper_tables

TABLES = """Print the tables of Rota Bulò et al. 2017 beside what was run here.

Every run folder below --runs counts: runs with the same data, method, p, m and tiling share a cell.
A cell where nothing was run is empty. Scores under another tiling than training's come from
`lossmaxpool evaluate RUN/checkpoints/last.ckpt ... --json RUN/evaluations/NAME.json`.
"""
FIGURES = """Draw the four figures of Rota Bulò et al. 2017 as SVG and PDF files.

Figures 1 and 2 are drawn from the operator itself. Figure 3 (gain per class against its pixels) and
Figure 4 (predictions in the course of training) need --runs, a folder with finished runs of BASE+
and LMP, or of BASE and LMP (loss only), under a common seed.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: The words after ``python -m reproduction``; those of this process if None.

    Returns:
        The exit status: 0, 1 where a record could not be used, 2 for a mistake in the arguments.
    """
    parser = argparse.ArgumentParser(prog="python -m reproduction", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    tables = commands.add_parser("tables", description=TABLES, formatter_class=raw)
    tables.add_argument("--format", choices=("text", "markdown"), default="text")
    drawn = commands.add_parser("figures", description=FIGURES, formatter_class=raw)
    drawn.add_argument("--out", type=Path, required=True, help="folder for the figures")
    for each in (tables, drawn):
        each.add_argument("--runs", type=Path, help="folder with run folders, at any depth")
        each.add_argument(
            "--window",
            type=float,
            default=0.1,
            help="a run's evaluations in this last share of its steps count; 0: the last alone",
        )
        each.add_argument(
            "--steps",
            type=int,
            nargs="+",
            default=[],
            help="the evaluations that count instead, such as 150000 160000 165000",
        )
    options = parser.parse_args(words)
    try:
        window = CheckpointWindow(options.window, tuple(options.steps))
        found = None if options.runs is None else find_runs(options.runs)
        if options.command == "tables":
            sys.stdout.write(f"{paper_tables(found or FoundRuns(), window, options.format)}\n")
        else:
            for line in figures.draw(options.out, found, window):
                sys.stdout.write(f"{line}\n")
    except (RecordError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 1 if found is not None and found.damaged else 0


if __name__ == "__main__":
    sys.exit(main())
