"""The runs of a sweep as a table, as JSON and as a plot of mIoU over p and over m."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossmaxpool.atomic import write_atomically
from lossmaxpool.report.comparison import MethodSetting, method_setting
from lossmaxpool.report.statistics import Score, score
from lossmaxpool.report.tables import aligned, piped
from lossmaxpool.report.wording import number, with_std
from lossmaxpool.runs import RecordError
from lossmaxpool.runs.record import RunRecord

_HEAD = ("method", "p", "m / n", "runs", "mIoU")


@dataclass(frozen=True)
class Setting:
    """The runs that differ in their seed alone."""

    method: str
    label: str
    p: float  # NaN for a method without a weighting set
    min_support: float
    runs: tuple[RunRecord, ...]

    @property
    def values(self) -> list[float]:
        """The mIoU of the finished runs."""
        return [run.results.miou for run in self.runs if run.finished]

    @property
    def miou(self) -> Score:
        """Over the finished runs; NaN where none is."""
        return score(self.values)


def read_settings(folders: Sequence[Path]) -> list[Setting]:
    """Group run folders by method, p and min_support; a folder without a record is left out.

    Raises:
        RecordError: A record is bad, or the runs are of different data or classes.
    """
    runs = [RunRecord.read(folder) for folder in folders if (folder / "record.json").is_file()]
    for run in runs[1:]:
        if (run.data, run.classes) != (runs[0].data, runs[0].classes):
            raise RecordError(
                f"{run.folder} was trained on other data or classes than {runs[0].folder}: "
                "sweep over one data set at a time."
            )
    groups: dict[MethodSetting, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(method_setting(run), []).append(run)
    return [
        Setting(
            shared.method,
            members[0].label,
            math.nan if shared.p is None else shared.p,
            math.nan if shared.min_support is None else shared.min_support,
            tuple(members),
        )
        for shared, members in groups.items()
    ]


def sweep_table(folders: Sequence[Path]) -> str:
    """Mean and standard deviation of the final mIoU of every setting, as text for the terminal."""
    return "\n".join(aligned(_rows(read_settings(folders))))


def write_sweep(folders: Sequence[Path], out: Path) -> None:
    """Write ``sweep.md``, ``sweep.json`` and, where p or m was swept, ``sweep.svg`` and
    ``sweep.pdf``.
    """
    settings = read_settings(folders)
    write_atomically(out / "sweep.md", f"{piped(_rows(settings))}\n".encode())
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
    write_atomically(
        out / "sweep.json", f"{json.dumps({'settings': content}, indent=1)}\n".encode()
    )
    if panels := _panels(settings):
        # Imported here: matplotlib is slow to import, and a table needs none of it.
        from lossmaxpool.report.figures import sweep_figure

        levels = {s.label: s.values for s in settings if s.miou.n and math.isnan(s.p)}
        drawing = sweep_figure(panels, levels)
        write_atomically(out / "sweep.svg", drawing.file.encode())
        write_atomically(out / "sweep.pdf", drawing.pdf)


def _rows(settings: Sequence[Setting]) -> list[list[str]]:
    rows = [list(_HEAD)]
    for setting in settings:
        finished = setting.miou.n
        runs = str(finished) if finished == len(setting.runs) else f"{finished}/{len(setting.runs)}"
        p, share = ("" if math.isnan(x) else f"{x:g}" for x in (setting.p, setting.min_support))
        rows.append([setting.label, p, share, runs, with_std(setting.miou)])
    return rows


def _panels(settings: Sequence[Setting]) -> list[tuple[str, dict[str, dict[float, list[float]]]]]:
    """Lines over p with m fixed, and lines over m with p fixed for the settings left over."""
    measured = [s for s in settings if s.miou.n and not math.isnan(s.p)]
    over_p: dict[tuple[str, float], list[Setting]] = {}
    over_m: dict[tuple[str, float], list[Setting]] = {}
    for setting in sorted(measured, key=lambda s: (s.min_support, s.p)):
        over_p.setdefault((setting.method, setting.min_support), []).append(setting)
        over_m.setdefault((setting.method, setting.p), []).append(setting)
    of_p = [members for members in over_p.values() if len(members) > 1]
    drawn = {id(setting) for members in of_p for setting in members}
    of_m = [
        members
        for members in over_m.values()
        if len(members) > 1 and not {id(setting) for setting in members} <= drawn
    ]
    lines_over_p = {
        f"{m[0].label}, m / n = {number(m[0].min_support)}": {s.p: s.values for s in m}
        for m in of_p
    }
    lines_over_m = {
        f"{m[0].label}, p = {number(m[0].p)}": {s.min_support: s.values for s in m} for m in of_m
    }
    return [each for each in (("p", lines_over_p), ("m / n", lines_over_m)) if each[1]]


def _number(x: float) -> float | str | None:
    """JSON has neither NaN nor infinity."""
    if math.isnan(x):
        return None
    return x if math.isfinite(x) else "inf"
