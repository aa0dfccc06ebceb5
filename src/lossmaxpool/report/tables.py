"""The comparison as text for the terminal, as Markdown, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lossmaxpool.report.comparison import read_runs
from lossmaxpool.report.statistics import (
    Gain,
    Gains,
    Pair,
    Score,
    Summary,
    class_scores,
    measures,
    summarize,
)
from lossmaxpool.report.wording import (
    MISSING,
    NAMED,
    caveats,
    findings,
    headline,
    interval,
    measure_name,
    points,
    share,
    with_std,
)
from lossmaxpool.runs import RecordError
from lossmaxpool.runs.record import RunRecord

SUMMARY_SCHEMA = 1
# A gain that is marked, whatever the names of the classes hold.
_STAR = re.compile(r"\d\.\d\*")


def format_table(run_folders: Sequence[Path]) -> str:
    """Per-class IoU of every method and its gain over BASE, as plain text for the terminal.

    Args:
        run_folders: Run folders of one or more methods and seeds.

    Returns:
        Lines of text: the table (mIoU and pixel accuracy first, then the classes by pixel share,
        rare ones last; percent), then the result in words. A gain marked ``*`` has a 95 % interval
        without zero.

    Raises:
        RecordError: A record is bad, or the runs cannot be compared.

    Example:
        ``print(format_table(sorted(Path("runs/camvid").glob("*-seed*"))))``
    """
    summary = summarize(read_runs(run_folders))
    lines = aligned(_rows(summary, leave_out=summary.folded))
    rule = "-" * max(len(line) for line in lines)
    first = 1 + len(summary.measures)
    table = [lines[0], rule, *lines[1:first], rule, *lines[first:]]
    if summary.folded:
        table.append(f"and {len(summary.folded)} classes on which all methods agree or have no IoU")
    tables = [table]
    if shown := summary.further_pairs:
        # Without the names of classes: a terminal is too narrow.
        tables.append(aligned([row[:-1] for row in _pair_rows(summary, shown)]))
    for each in tables:
        if any(_STAR.search(line) for line in each):
            each.append("* the 95 % interval of the paired gain excludes zero")
    blocks = [[headline(summary)]]
    blocks += [[str(finding) for finding in findings(summary, m)] for m in summary.rivals]
    blocks.append(caveats(summary))
    width = max(80, len(rule))
    words = [
        "\n".join(textwrap.fill(text, width, subsequent_indent="  ") for text in block)
        for block in blocks
        if block
    ]
    return "\n\n".join(["\n".join(block) for block in tables] + words)


def markdown_table(run_folders: Sequence[Path]) -> str:
    """The same table as `format_table`, in Markdown; of more than two methods, without the gains.

    They would make it too wide to read: `markdown_pairs` has those over every method.

    Args:
        run_folders: Run folders of one or more methods and seeds.

    Returns:
        A Markdown table without a trailing newline.

    Raises:
        RecordError: A record is bad, or the runs cannot be compared.

    Example:
        ``print(markdown_table(sorted(Path("runs/camvid").glob("*-seed*"))))``
    """
    summary = summarize(read_runs(run_folders))
    return piped(_rows(summary, gains=len(summary.methods) <= 2))


def markdown_pairs(run_folders: Sequence[Path], method: str) -> str:
    """The gains of one method over each other one, in Markdown.

    Args:
        run_folders: Run folders of two or more methods and seeds.
        method: The id of the method, e.g. "lmp".

    Returns:
        A Markdown table without a trailing newline: the leading measure in points with its paired
        95 % interval, how many classes gained and lost, and the classes whose interval excludes
        zero. So does the interval of a gain marked ``*``.

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
    rows = _pair_rows(summary, summary.over(own, [m for m in summary.methods if m is not own]))
    return piped(rows, words=(0, len(rows[0]) - 1))


def settled_classes(summary: Summary, pair: Pair) -> str:
    """The classes whose interval excludes zero, with their gains: of many, those that changed most.

    They stand from the highest gain on.
    """
    named = zip(pair.gains.iou, summary.comparison.classes, strict=True)
    beyond = sorted((e for e in named if e[0].settled), key=lambda e: -abs(e[0].mean))
    shown = beyond if len(beyond) <= NAMED + 1 else beyond[:NAMED]
    shown.sort(key=lambda e: -e[0].mean)
    text = ", ".join(f"{name} {points(gain.mean)}" for gain, name in shown) or MISSING
    return text if len(shown) == len(beyond) else f"{text} and {len(beyond) - len(shown)} more"


def summary_content(summary: Summary) -> dict[str, Any]:
    """The content of ``summary.json``: fractions in [0, 1], null where a value does not exist."""
    comparison = summary.comparison
    return {
        "schema": SUMMARY_SCHEMA,
        "headline": headline(summary),
        "caveats": caveats(summary),
        "data": asdict(comparison.data) | {"name": summary.data_name},
        "classes": [
            {
                "name": comparison.classes[c],
                "train_share": _json(summary.train_share[c]),
                "val_share": _json(summary.val_share[c]),
                "rare": c in summary.rare,
            }
            for c in range(len(comparison.classes))
        ],
        "methods": [
            {
                "method": m.method.id,
                "label": m.label,
                "seeds": [run.seed for run in m.method.runs],
                **{_key(name): _score(score) for name, score in m.measures.items()},
                **{
                    name.lower(): [_score(score) for score in scores]
                    for name, scores in m.classes.items()
                },
                "findings": [str(finding) for finding in findings(summary, m)],
                "gains": _gains(m.gains) if m.gains else None,
            }
            for m in summary.methods
        ],
        "pairs": [
            {"method": p.method.method.id, "over": p.other.method.id, "gains": _gains(p.gains)}
            for p in summary.pairs
        ],
        "runs": [_run(run) for run in comparison.runs],
    }


def results_csv(summary: Summary) -> str:
    """The content of ``results.csv``: a line per finished run and class, or measure of all classes.

    Scores are fractions, empty where undefined. The measures of all classes have no shares.
    """
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    shares = ("train_share", "val_share")
    out.writerow(["method", "label", "seed", "step", "class", *shares, "score", "value"])
    for run in (run for m in summary.methods for run in m.method.runs):
        head = [run.method, run.label, run.seed, run.results.step]
        for name, value in measures(run).items():
            out.writerow([*head, "", "", "", name, _csv(value)])
        scores = class_scores(run)
        for c, name in enumerate(summary.comparison.classes):
            place = [name, _csv(summary.train_share[c]), _csv(summary.val_share[c])]
            for which, values in scores.items():
                out.writerow([*head, *place, which, _csv(values[c])])
    return text.getvalue()


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row: the first column to the left, the numbers to the right.

    Example:
        >>> aligned([["class", "IoU"], ["road", "97.4"]])
        ['class   IoU', 'road   97.4']
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def piped(rows: Sequence[Sequence[str]], words: Collection[int] = (0,)) -> str:
    """A Markdown table of the head and the body, without a trailing newline.

    Args:
        words: The columns that stand to the left, as they hold no numbers.

    Example:
        >>> print(piped([["class", "IoU"], ["road", "97.4"]]))
        | class | IoU |
        | :-- | --: |
        | road | 97.4 |
    """
    head, *body = [
        [cell.strip().replace("|", "\\|").replace("*", "\\*") for cell in row] for row in rows
    ]
    rules = [":--" if i in words else "--:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *body))


def _rows(
    summary: Summary, *, gains: bool = True, leave_out: Collection[int] = ()
) -> list[list[str]]:
    """Head, measures, one row per class; gains follow the score that they belong to."""
    order = [c for c in summary.by_share if c not in leave_out]
    rows = [["class", "share %"], *([measure_name(name), ""] for name in summary.measures)]
    rows += [[summary.comparison.classes[c], share(summary.train_share[c])] for c in order]
    for m in summary.methods:
        scores = [*m.measures.values(), *(m.iou[c] for c in order)]
        for row, cell in zip(rows, [m.label, *map(with_std, scores)], strict=True):
            row.append(cell)
        if m.gains and gains:
            cells = map(_marked, [*m.gains.measures.values(), *(m.gains.iou[c] for c in order)])
            for row, cell in zip(rows, ["gain", *cells], strict=True):
                row.append(cell)
    return rows


def _pair_rows(summary: Summary, found: Sequence[Pair]) -> list[list[str]]:
    head = ["", f"{summary.lead} gain", "95 % interval", "seeds", "gained", "lost"]
    return [
        [*head, "settled classes"],
        *(
            [
                f"{pair.method.label} over {pair.other.label}",
                _marked(pair.gains.lead),
                interval(pair.gains.lead),
                str(pair.gains.lead.n),
                str(pair.classes(1)),
                str(pair.classes(-1)),
                settled_classes(summary, pair),
            ]
            for pair in found
        ),
    ]


def _marked(gain: Gain) -> str:
    # The blank keeps the decimals of unmarked gains in line.
    return f"{points(gain.mean)}{'*' if gain.settled else ' '}"


def _key(name: str) -> str:
    return name.lower().replace(" ", "_")


def _score(score: Score) -> dict[str, Any]:
    return {"mean": _json(score.mean), "std": _json(score.std), "n": score.n}


def _gains(gains: Gains) -> dict[str, Any]:
    return {
        **{_key(name): _gain(gain) for name, gain in gains.measures.items()},
        "iou": [_gain(gain) for gain in gains.iou],
    }


def _gain(gain: Gain) -> dict[str, Any]:
    return {
        "mean": _json(gain.mean),
        "low": _json(gain.low),
        "high": _json(gain.high),
        "n": gain.n,
        "by_seed": {str(seed): value for seed, value in gain.by_seed.items()},
    }


def _run(run: RunRecord) -> dict[str, Any]:
    return {
        "folder": run.folder.name,
        "method": run.method,
        "seed": run.seed,
        "status": run.status,
        "step": run.final.step if run.final else None,
        "miou": _json(run.final.miou) if run.final else None,
        "seconds": _json(run.seconds),
    }


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _csv(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
