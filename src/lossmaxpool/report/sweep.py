"""The runs of a sweep as a table, as JSON and as a plot of mIoU over p."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossmaxpool.report.comparison import Run
from lossmaxpool.report.fields import RecordError
from lossmaxpool.report.files import standalone, write_text
from lossmaxpool.report.formats import with_std
from lossmaxpool.report.grid import aligned, piped
from lossmaxpool.report.protocol.columns import MAX_POOLING
from lossmaxpool.report.records import read_run
from lossmaxpool.report.statistics import Score, score
from lossmaxpool.report.sweep_figure import Line, sweep_figure

_HEAD = ("method", "p", "m / n", "runs", "mIoU")


@dataclass(frozen=True)
class Setting:
    """The runs that differ in their seed alone."""

    method: str
    label: str
    p: float  # NaN for a method without a weighting set
    min_support: float
    runs: tuple[Run, ...]

    @property
    def miou(self) -> Score:
        """Over the finished runs; NaN where none is."""
        return score([run.results.miou for run in self.runs if run.finished])


def read_settings(folders: Sequence[Path]) -> list[Setting]:
    """Group run folders by method, p and min_support; a folder without a record is left out.

    Args:
        folders: Run folders of one data set, finished or not.

    Raises:
        RecordError: A record is bad, or the runs are of different data or classes.
    """
    runs = [read_run(folder) for folder in folders if (folder / "record.json").is_file()]
    for run in runs[1:]:
        if (run.data, run.classes) != (runs[0].data, runs[0].classes):
            raise RecordError(
                f"{run.folder} was trained on other data or classes than {runs[0].folder}: "
                "sweep over one data set at a time."
            )
    groups: dict[tuple[str, float | None, float | None], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.method, *_weighting_set(run)), []).append(run)
    return [
        Setting(
            method,
            members[0].label,
            math.nan if p is None else p,
            math.nan if share is None else share,
            tuple(members),
        )
        for (method, p, share), members in groups.items()
    ]


def sweep_table(folders: Sequence[Path]) -> str:
    """Mean and standard deviation of the final mIoU of every setting, as text for the terminal."""
    return "\n".join(aligned(_rows(read_settings(folders))))


def write_sweep(folders: Sequence[Path], out: Path) -> None:
    """Write ``sweep.md``, ``sweep.json`` and, where p was swept, ``sweep.svg``.

    Args:
        folders: Run folders, as for :func:`read_settings`.
        out: An existing folder.

    Raises:
        RecordError: A record is bad, or the runs do not belong together.
        OSError: A file cannot be written.
    """
    settings = read_settings(folders)
    write_text(out / "sweep.md", piped(_rows(settings)) + "\n")
    content = [
        {
            "method": setting.method,
            "p": _number(setting.p),
            "min_support": _number(setting.min_support),
            "runs": [
                {
                    "folder": run.folder.name,
                    "seed": run.seed,
                    "status": run.status,
                    "miou": run.results.miou if run.finished else None,
                }
                for run in setting.runs
            ],
        }
        for setting in settings
    ]
    write_text(out / "sweep.json", json.dumps({"settings": content}, indent=1) + "\n")
    if lines := _lines(settings):
        write_text(out / "sweep.svg", standalone(sweep_figure(lines)))


def _weighting_set(run: Run) -> tuple[float | None, float | None]:
    if run.method not in MAX_POOLING:
        return None, None
    loss = run.config["loss"]
    return float(loss["p"]), float(loss["min_support"])


def _rows(settings: Sequence[Setting]) -> list[list[str]]:
    rows = [list(_HEAD)]
    for setting in settings:
        finished = setting.miou.n
        runs = str(finished) if finished == len(setting.runs) else f"{finished}/{len(setting.runs)}"
        p, share = ("" if math.isnan(x) else f"{x:g}" for x in (setting.p, setting.min_support))
        rows.append([setting.label, p, share, runs, with_std(setting.miou)])
    return rows


def _lines(settings: Sequence[Setting]) -> list[Line]:
    """One line per method and support over p; one number for a method without them."""
    lines: dict[tuple[str, float | None], Line] = {}
    supports = {s.min_support for s in settings if not math.isnan(s.min_support)}
    for setting in settings:
        if not setting.miou.n:
            continue
        fixed = math.isnan(setting.p)
        label = setting.label
        if not fixed and len(supports) > 1:
            label = f"{label}, m / n = {setting.min_support:g}"
        key = (setting.method, None if fixed else setting.min_support)
        values = [run.results.miou for run in setting.runs if run.finished]
        lines.setdefault(key, Line(label, {})).points[setting.p] = values
    swept = {p for line in lines.values() for p in line.points if not math.isnan(p)}
    return list(lines.values()) if len(swept) > 1 else []


def _number(x: float) -> float | str | None:
    """JSON has neither NaN nor infinity."""
    if math.isnan(x):
        return None
    return x if math.isfinite(x) else "inf"
