"""Draw the four figures of Rota Bulò et al. 2017 as SVG files.

Figures 1 and 2 are drawn from the operator itself. Figure 3 (gain per class against its pixels) and
Figure 4 (predictions in the course of training) need --runs, a folder with finished runs of BASE+
and LMP, or of BASE and LMP (loss only), under a common seed.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

from jsonargparse import Namespace

from lossmaxpool.cli import weightings
from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.cli.tables import add_window
from lossmaxpool.report.files import standalone, write_text
from lossmaxpool.report.markup import Markup
from lossmaxpool.report.paper_figures import (
    Weightings,
    evolution_figure,
    evolution_strips,
    pixel_gain_figure,
    pixel_gains,
    weighting_set_figure,
    weightings_figure,
)
from lossmaxpool.report.paper_figures.ramp import SHEET
from lossmaxpool.report.protocol import Window, find_runs
from lossmaxpool.report.protocol.columns import columns
from lossmaxpool.report.protocol.pairs import find_pair

_INF = math.inf


def add_arguments(parser: CommandParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    parser.add_argument(
        "--runs", type=Path | None, default=None, help="folder with run folders, at any depth"
    )
    add_window(parser)


def run(options: Namespace) -> int:
    """Draw what can be drawn and say what is missing; 1 where a record could not be used."""
    window = Window(options.window, tuple(options.steps))
    found = None if options.runs is None else find_runs(options.runs)
    options.out.mkdir(parents=True, exist_ok=True)
    _write(options.out / "figure-1.svg", figure_1())
    _write(options.out / "figure-2.svg", figure_2())
    if found is None:
        _say("Figures 3 and 4 are missing: give --runs, a folder of finished runs")
        return 0
    here, notes = columns(found.runs, window)
    for note in (*found.damaged, *found.unfinished, *notes):
        _say(f"left out: {note}")
    for column in here:
        pair = find_pair(column)
        name = f"-{_slug(column.name)}" if len(here) > 1 else ""
        if isinstance(pair, str):
            _say(f"Figures 3 and 4 are missing for {pair}")
            continue
        gains = pixel_gains(pair)
        if isinstance(gains, str):
            _say(f"Figure 3 is missing for {gains}")
        else:
            _write(options.out / f"figure-3{name}.svg", pixel_gain_figure(gains))
        strips, missing = evolution_strips(pair)
        if missing:
            _say(f"Figure 4, {missing}")
        if strips:
            _write(options.out / f"figure-4{name}.svg", evolution_figure(strips))
    if not here:
        _say("Figures 3 and 4 are missing: no run is finished")
    return 1 if found.damaged else 0


def figure_1() -> Markup:
    """Spheres of the p-norm, and W for n = 2, p = 1.4 and tau = 0.6."""
    p, cap, n = 1.4, 0.6, 2
    norm = n ** (1 / p - 1)
    support = (norm / cap) ** p
    return weighting_set_figure(
        {weightings.exponent(p): weightings.sphere(p) for p in (1, 1.4, 2, 4, _INF)},
        weightings.sphere(p, norm),
        weightings.weighting_set(p, support / n),
        cap,
        f"n = {n}, p = {p}, τ = {cap}",
    )


def figure_2() -> Markup:
    """Optimal weightings of 100 sorted losses: p varies, then m."""
    losses = weightings.synthetic_losses()
    norms = (1, 1.2, 1.4, 1.7, 2, 3, 4, 10, _INF)
    supports = (0, 0.1, 0.2, 0.4, 0.8, 1)
    panels = (
        Weightings("m = n/3, p varies", weightings.over_norms(losses, norms, 1 / 3)),
        Weightings("p = 1.7, m varies", weightings.over_supports(losses, 1.7, supports)),
    )
    return weightings_figure(losses.tolist(), panels)


def _write(path: Path, drawing: Markup) -> None:
    write_text(path, standalone(drawing, SHEET))
    _say(str(path))


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
