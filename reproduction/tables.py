"""The paper's tables beside what was run here."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lossmaxpool.report.comparison import MethodSetting
from lossmaxpool.report.tables import aligned, piped
from lossmaxpool.report.wording import MISSING, count
from lossmaxpool.runs.record import Evaluation
from reproduction.published import (
    SUPPORT,
    TABLE_1,
    TABLE_2,
    TABLE_3A,
    TABLE_3B,
    TABLE_4,
    ClassTable,
    Table,
    Task,
)
from reproduction.runs import (
    CheckpointWindow,
    Column,
    FoundRuns,
    MeasuredScore,
    columns,
    differing,
    measure,
)

Format = Literal["text", "markdown"]
# The methods of the paper with a weighting set.
MAX_POOLING = ("loss-only", "lmp")
TABLES: tuple[Table | ClassTable, ...] = (TABLE_1, SUPPORT, TABLE_2, TABLE_3A, TABLE_3B, TABLE_4)
WIDTH = 100
# A column of empty cells is still wide enough for the words above it.
_NARROWEST = 16
EMPTY = ""


@dataclass(frozen=True)
class _Beside:
    """One table, ready to print: the columns of the paper, then those run here."""

    heading: str
    rows: list[list[str]]
    remarks: list[str]


def paper_tables(found: FoundRuns, window: CheckpointWindow, format: Format = "text") -> str:
    """Every table of the paper, each cell as printed, and beside it what was run here.

    A column stands for one data set, split and view; the first is the table's own, whether
    anything was run on it or not. Runs on other data have columns of their own, and a cell where
    nothing was run is empty.

    Args:
        found: The runs; none at all leaves the columns of the tables' own data empty.
        window: Which evaluations of a run count.
        format: "text" for the terminal, "markdown" for a page.

    Returns:
        The tables and, below them, what the columns are and what was left out.

    Raises:
        RecordError: The same setting and seed was run twice.
        ValueError: Another format.
    """
    if format not in ("text", "markdown"):
        raise ValueError(f"format is {format!r}: expected 'text' or 'markdown'")
    here, notes = columns(found.runs, window)
    tables = [
        _class_table(table, here) if isinstance(table, ClassTable) else _table(table, here)
        for table in TABLES
    ]
    write = _as_text if format == "text" else _as_markdown
    blocks = [write(table) for table in tables]
    below = {
        "Run here": [f"{column.name}: {column.description}" for column in here]
        or ["nothing yet: the columns of the paper's own data are empty"],
        "Columns of one data set differ in": differing(here),
        "Left out": [*found.damaged, *found.unfinished, *notes],
        "How the numbers are made": [_explanation(window)],
    }
    blocks += [_listing(title, lines, format) for title, lines in below.items() if lines]
    return "\n\n".join(blocks)


def _table(table: Table, here: Sequence[Column]) -> _Beside:
    shown = _shown(table.task, here)
    rows = [[*table.head, *_heads(table.task, shown)]]
    blank = [""] * (len(table.head) - 1)
    for row in table.rows:
        rows.append([row.name, *row.cells, *(_mean_iou(each, row.setting) for each in shown)])
    for setting in _unprinted(table, [column for column in shown if column]):
        cells = [_mean_iou(each, setting) for each in shown]
        rows.append([_name(setting, table), *blank, *cells])
    return _Beside(f"{table.name}. {table.title}", rows, list(table.remarks))


def _class_table(table: ClassTable, here: Sequence[Column]) -> _Beside:
    """Classes down, as a terminal is higher than it is wide; the paper's columns and then ours."""
    names = [_plain(name) for name in table.classes]
    fitting = [c for c in here if [_plain(name) for name in c.first.classes] == names]
    shown = _shown(table.task, fitting)
    heads = [EMPTY]
    heads += [f"{table.labels[setting]}" for setting in table.means]
    heads += [
        f"{table.labels[setting]} {head}"
        for head in _heads(table.task, shown)
        for setting in table.means
    ]
    rows = [heads]
    for c, name in enumerate([*table.classes, "Mean"]):
        row = [name]
        row += [f"{table.means[r][c]} ±{table.deviations[r][c]}" for r in table.means]
        row += [
            _cell(column, setting, _of_class(c) if c < len(names) else _miou)
            for column in shown
            for setting in table.means
        ]
        rows.append(row)
    strangers = [column for column in here if column not in fitting]
    same_data = [column for column in strangers if column.task.data == table.task.data]
    remarks = [
        f"{column.name} has other classes ({count(len(column.first.classes), 'class', 'classes')} "
        f"instead of {len(names)}, or another order): it has no column here."
        for column in same_data
    ]
    return _Beside(f"{table.name}. {table.title}", rows, remarks)


def _shown(task: Task, here: Sequence[Column]) -> list[Column | None]:
    """The columns on the table's own task, or None for an empty one; then those on other tasks."""
    own: list[Column | None] = [column for column in here if column.task == task]
    return (own or [None]) + [column for column in here if column.task != task]


def _heads(task: Task, shown: Sequence[Column | None]) -> list[str]:
    own = f"{task.data} {task.split}, {task.view}"
    return [f"here: {column.name if column else own}" for column in shown]


def _unprinted(table: Table, here: Iterable[Column]) -> list[MethodSetting]:
    """Settings run here that the table might have had, in order."""
    printed = {row.setting for row in table.rows}
    run = {setting for column in here for setting in column.cells} - printed
    fits = {setting for setting in run if _belongs(setting, table)}
    return sorted(fits, key=lambda r: (r.method, r.p or 0, r.min_support or 0))


def _belongs(setting: MethodSetting, table: Table) -> bool:
    if table is TABLE_1:  # other p, and the loss alone
        return setting.method in MAX_POOLING and setting.min_support == 0.25
    if table is SUPPORT:  # other m
        return setting.method in MAX_POOLING and setting.p == 1.3
    return setting.method not in MAX_POOLING


def _name(setting: MethodSetting, table: Table) -> str:
    if setting.p is None or setting.min_support is None:
        return f"{setting.method} (run here)"
    name = f"{setting.p:g}" if table is TABLE_1 else f"{100 * setting.min_support:g} %"
    return name if setting.method == "lmp" else f"{name} {setting.method}"


def _mean_iou(column: Column | None, setting: MethodSetting | None) -> str:
    return _cell(column, setting, _miou)


def _of_class(c: int) -> Callable[[Evaluation], float]:
    return lambda evaluation: evaluation.iou[c]


def _miou(evaluation: Evaluation) -> float:
    return evaluation.miou


def _cell(
    column: Column | None, setting: MethodSetting | None, of: Callable[[Evaluation], float]
) -> str:
    runs = column.find(setting) if column and setting else ()
    if not runs:
        return EMPTY
    by_run = [[of(evaluation) for evaluation in scored.evaluations] for scored in runs]
    # A class that an evaluation leaves out has no score; a run without any is none of the runs.
    present = [[value for value in values if not math.isnan(value)] for values in by_run]
    present = [values for values in present if values]
    return _measured(measure(present)) if present else MISSING


def _measured(measured: MeasuredScore) -> str:
    mean, std = 100 * measured.score.mean, 100 * measured.score.std
    if math.isnan(std):
        return f"{mean:.2f}"
    over = f"{measured.seeds} s" if measured.seeds > 1 else f"{measured.checkpoints} c"
    return f"{mean:.2f} ±{std:.2f} ({over})"


def _explanation(window: CheckpointWindow) -> str:
    counted = (
        f"steps {', '.join(map(str, window.steps))}"
        if window.steps
        else f"the last {100 * window.share:g} % of the steps"
        if window.share
        else "the last step"
    )
    return (
        f"IoU in percent. A run's score is the mean of its evaluations at {counted}. "
        '"(3 c)": ± is the sample standard deviation (ddof = 1) over 3 checkpoints of one run, as '
        'in the paper; "(3 s)": over 3 seeds. Without ±: one checkpoint of one run.'
    )


def _plain(name: str) -> str:
    """A class's name without case, blanks and hyphens: "TV Monitor" is VOC's "tvmonitor"."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _as_text(table: _Beside) -> str:
    return "\n".join([table.heading, *_stacked(table.rows), *map(_wrapped, table.remarks)])


def _stacked(rows: list[list[str]]) -> list[str]:
    """Aligned rows; the names of the columns, which are long, wrap above their numbers."""
    head, *body = rows
    widths = [max(len(row[i]) for row in body) for i in range(len(head))]
    parts = [
        textwrap.wrap(cell, max(_NARROWEST, width), break_on_hyphens=False) or [""]
        for cell, width in zip(head, widths, strict=True)
    ]
    depth = max(map(len, parts))
    # Names stand on the rule, however many lines their neighbors need.
    columns_of_lines = [[""] * (depth - len(part)) + part for part in parts]
    heads = [list(line) for line in zip(*columns_of_lines, strict=True)]
    lines = aligned([*heads, *body])
    return [*lines[:depth], "-" * max(map(len, lines)), *lines[depth:]]


def _as_markdown(table: _Beside) -> str:
    return "\n\n".join([f"### {table.heading}", piped(table.rows), *table.remarks])


def _listing(title: str, lines: Sequence[str], format: Format) -> str:
    if format == "markdown":
        return "\n".join([f"### {title}", "", *(f"- {line}" for line in lines)])
    return "\n".join([title, *(_wrapped(line) for line in lines)])


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
