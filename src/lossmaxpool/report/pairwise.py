"""Every method against every other, over the seeds that both finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossmaxpool.report.fields import RecordError
from lossmaxpool.report.formats import MISSING, count, interval, points
from lossmaxpool.report.grid import aligned, piped
from lossmaxpool.report.markup import Markup, element
from lossmaxpool.report.records import read_runs
from lossmaxpool.report.scrolling import scrolling
from lossmaxpool.report.statistics import (
    Gains,
    MethodSummary,
    Summary,
    gains_over,
    summarize,
)

_HEAD = ("", "mIoU gain", "95 % interval", "seeds", "gained", "lost", "settled classes")
_EXPLANATION = (
    "Differences of mIoU in points over the seeds that both finished, with the paired 95 % "
    "t-interval below; bold where that excludes zero. Gained and lost count classes; the last "
    "column names those whose own interval excludes zero, as one in twenty does by chance alone."
)


@dataclass(frozen=True)
class Pair:
    """A method and what it gained over another."""

    method: MethodSummary
    other: MethodSummary
    gains: Gains

    @property
    def name(self) -> str:
        """Which over which."""
        return f"{self.method.method.label} over {self.other.method.label}"

    def classes(self, sign: int) -> int:
        """How many classes gained (1) or lost (-1), to the decimal that is printed."""
        return sum(1 for gain in self.gains.iou if sign * round(100 * gain.mean, 1) > 0)

    def settled(self, summary: Summary) -> str:
        """The classes whose interval excludes zero, with their gains, from the highest on."""
        named = zip(self.gains.iou, summary.comparison.classes, strict=True)
        beyond = sorted((e for e in named if e[0].settled), key=lambda e: -e[0].mean)
        return ", ".join(f"{name} {points(gain.mean)}" for gain, name in beyond) or MISSING


def pairs(summary: Summary) -> list[Pair]:
    """Each two methods with a common seed once: the one of higher mean mIoU over the other."""
    ranked = sorted(summary.methods, key=lambda m: -m.miou.mean)
    return [pair for i, method in enumerate(ranked) for pair in _over(method, ranked[i + 1 :])]


def further_pairs(summary: Summary) -> list[Pair]:
    """The pairs where they say more than the gains over the baseline do; otherwise none."""
    return pairs(summary) if len(summary.methods) > 2 or summary.baseline is None else []


def markdown_pairs(run_folders: Sequence[Path], method: str) -> str:
    """What one method gained over each other one, in Markdown.

    Args:
        run_folders: Run folders of two or more methods and seeds.
        method: The id of the method, e.g. "lmp".

    Returns:
        A Markdown table without a trailing newline: mIoU in points with its paired 95 % interval,
        how many classes gained and lost, and the classes whose interval excludes zero. So does the
        interval of a gain marked ``*``.

    Raises:
        RecordError: A record is bad, the runs cannot be compared, or none of the method is
            finished.

    Example:
        ``print(markdown_pairs(sorted(Path("runs/camvid").glob("*-seed*")), "lmp"))``
    """
    summary = summarize(read_runs(run_folders))
    own = next((m for m in summary.methods if m.method.id == method), None)
    if own is None:
        known = ", ".join(m.method.id for m in summary.methods)
        raise RecordError(f"no run of {method!r} is finished, expected one of: {known}.")
    found = _over(own, [m for m in summary.methods if m is not own])
    return piped(_rows(summary, found), words=(0, len(_HEAD) - 1))


def pair_lines(summary: Summary, shown: Sequence[Pair]) -> list[str]:
    """Pairs as aligned text, without the names of classes."""
    return aligned([row[:-1] for row in _rows(summary, shown)])


def pair_table(summary: Summary, shown: Sequence[Pair]) -> list[Markup]:
    """Pairs for the page, below what their numbers are."""
    rows = []
    for pair in shown:
        gain = pair.gains.miou
        seeds = element("small", count(gain.n, "seed"))
        amount = element("b" if gain.settled else "span", points(gain.mean))
        bounds = element("small", interval(gain)) if gain.n > 1 else None
        cells = (str(pair.classes(1)), str(pair.classes(-1)), pair.settled(summary))
        rows.append(
            element(
                "tr",
                element("th", pair.name, seeds, scope="row"),
                element("td", amount, bounds),
                *(element("td", cell) for cell in cells),
            )
        )
    heads = (head for head in _HEAD if head not in ("95 % interval", "seeds"))
    head = element("tr", *(element("th", each, scope="col") for each in heads))
    table = element("table", element("thead", head), element("tbody", *rows), class_="plain pairs")
    return [element("p", _EXPLANATION, class_="note"), scrolling("Pairs of methods", table)]


def _over(method: MethodSummary, others: Sequence[MethodSummary]) -> list[Pair]:
    found = [Pair(method, other, gains_over(other.method, method.method)) for other in others]
    return [pair for pair in found if pair.gains.miou.n]


def _rows(summary: Summary, found: Sequence[Pair]) -> list[list[str]]:
    return [list(_HEAD), *(_cells(summary, pair) for pair in found)]


def _cells(summary: Summary, pair: Pair) -> list[str]:
    gain = pair.gains.miou
    return [
        pair.name,
        f"{points(gain.mean)}{'*' if gain.settled else ' '}",
        interval(gain),
        str(gain.n),
        str(pair.classes(1)),
        str(pair.classes(-1)),
        pair.settled(summary),
    ]
