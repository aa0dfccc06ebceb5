"""The comparison as a table for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossmaxpool.report.comparison import Run
from lossmaxpool.report.formats import points, share, with_std
from lossmaxpool.report.grid import aligned, piped
from lossmaxpool.report.pairwise import further_pairs, pair_lines, pairs
from lossmaxpool.report.records import read_runs
from lossmaxpool.report.statistics import Gain, Gains, Score, Summary, summarize
from lossmaxpool.report.wording import caveats, findings, headline

SUMMARY_SCHEMA = 1
# A gain that is marked, whatever the names of the classes hold.
_STAR = re.compile(r"\d\.\d\*")


def format_table(run_folders: Sequence[Path]) -> str:
    """Per-class IoU of every method and its gain over BASE, as plain text for the terminal.

    Args:
        run_folders: Run folders of one or more methods and seeds.

    Returns:
        Lines of text: the table (classes by pixel share, rare ones last; percent), mIoU, pixel
        accuracy, then the result in words. A gain marked ``*`` has a 95 % interval without zero.

    Raises:
        RecordError: A record is bad, or the runs cannot be compared.

    Example:
        ``print(format_table(sorted(Path("runs/camvid").glob("*-seed*"))))``
    """
    summary = summarize(read_runs(run_folders))
    lines = aligned(_rows(summary))
    rule = "-" * max(len(line) for line in lines)
    scores = len(summary.train_share) + 1
    tables = [[lines[0], rule, *lines[1:scores], rule, *lines[scores:]]]
    if shown := further_pairs(summary):
        tables.append(pair_lines(summary, shown))
    for table in tables:
        if any(_STAR.search(line) for line in table):
            table.append("* the 95 % interval of the paired gain excludes zero")
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


def summary_content(summary: Summary) -> dict[str, Any]:
    """What ``summary.json`` holds: fractions in [0, 1], null where a value does not exist."""
    comparison = summary.comparison
    data = comparison.data
    return {
        "schema": SUMMARY_SCHEMA,
        "headline": headline(summary),
        "caveats": caveats(summary),
        "data": {
            "name": data.name,
            "train_split": data.train_split,
            "val_split": data.val_split,
            "train_images": data.train_images,
            "val_images": data.val_images,
        },
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
                "label": m.method.label,
                "seeds": [run.seed for run in m.method.runs],
                "miou": _score(m.miou),
                "pixel_accuracy": _score(m.pixel_accuracy),
                "iou": [_score(score) for score in m.iou],
                "findings": [str(finding) for finding in findings(summary, m)],
                "gains": _gains(m.gains) if m.gains else None,
            }
            for m in summary.methods
        ],
        "pairs": [
            {
                "method": pair.method.method.id,
                "over": pair.other.method.id,
                "gains": _gains(pair.gains),
            }
            for pair in pairs(summary)
        ],
        "runs": [_run(run) for run in comparison.runs],
    }


def _rows(summary: Summary, *, gains: bool = True) -> list[list[str]]:
    """Head, one row per class, mIoU, pixel accuracy; gains follow the score that they belong to."""
    rows = [["class", "share %"]]
    rows += [
        [summary.comparison.classes[c], share(summary.train_share[c])] for c in summary.by_share
    ]
    rows += [["mIoU", ""], ["pixel accuracy", ""]]
    for m in summary.methods:
        scores = [*(m.iou[c] for c in summary.by_share), m.miou, m.pixel_accuracy]
        for row, cell in zip(rows, [m.method.label, *map(with_std, scores)], strict=True):
            row.append(cell)
        if m.gains and gains:
            iou = (m.gains.iou[c] for c in summary.by_share)
            cells = map(_marked, (*iou, m.gains.miou, m.gains.pixel_accuracy))
            for row, cell in zip(rows, ["gain", *cells], strict=True):
                row.append(cell)
    return rows


def _marked(gain: Gain) -> str:
    # The blank keeps the decimals of unmarked gains in line.
    return f"{points(gain.mean)}{'*' if gain.settled else ' '}"


def _score(score: Score) -> dict[str, Any]:
    return {"mean": _json(score.mean), "std": _json(score.std), "n": score.n}


def _gains(gains: Gains) -> dict[str, Any]:
    return {
        "miou": _gain(gains.miou),
        "pixel_accuracy": _gain(gains.pixel_accuracy),
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


def _run(run: Run) -> dict[str, Any]:
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
