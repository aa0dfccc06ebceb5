"""Print the tables of Rota Bulò et al. 2017 beside what was run here.

Every run folder below --runs counts: the same data, method, p, m and tiling meet in one cell. A
cell where nothing was run is empty. Scores under another tiling than training's come from
`lossmaxpool evaluate RUN/checkpoints/last.ckpt ... --json RUN/evaluations/NAME.json`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import Namespace

from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.report.protocol import Found, Window, find_runs, paper_tables
from lossmaxpool.report.protocol.beside import Format


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--runs", type=Path | None, default=None, help="folder with run folders, at any depth"
    )
    parser.add_argument("--format", type=Format, default="text", help="text or markdown")
    add_window(parser)


def add_window(parser: CommandParser) -> None:
    """Add the choice of the evaluations that count."""
    parser.add_argument(
        "--window",
        type=float,
        default=0.1,
        help="a run's evaluations in this last share of its steps count; 0: the last alone",
    )
    parser.add_argument(
        "--steps",
        type=list[int],
        default=[],
        help="the evaluations that count instead, such as [150000,160000,165000]",
    )


def run(options: Namespace) -> int:
    """Print the tables; the status is 1 where a record could not be used."""
    found = find_runs(options.runs) if options.runs is not None else Found()
    window = Window(options.window, tuple(options.steps))
    sys.stdout.write(f"{paper_tables(found, window, options.format)}\n")
    return 1 if found.damaged else 0
