"""The result of a run as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benchmarks.speed.bars import Bar, bars, exponent
from benchmarks.speed.results import MeasuredCase, Results

NOT_MEASURED = "–"
TIME = "ms (20–80 %)"
LABELS = {
    "cross_entropy": "`F.cross_entropy`",
    "cross_entropy_compiled": "`F.cross_entropy`, compiled",
    "liger": "Liger's cross-entropy",
    "top_k": "bootstrapping, `topk`",
    "kthvalue": "`kthvalue` alone",
    "lmp_by_sort": "loss max-pooling by sort",
    "lmp": "loss max-pooling",
    "lmp_native": "loss max-pooling, native kernel",
    "lmp_triton": "loss max-pooling, Triton",
    "lmp_torch": "loss max-pooling, portable",
    "clone": "`clone` of the logits",
}


def bar_table(results: Results) -> str:
    """The goals for a device beside its measurements."""
    return promises(bars(results))


def promises(given: Iterable[Bar]) -> str:
    """Promise, limit, measured, holds."""
    verdicts = {True: "yes", False: "**no**", None: "not measured"}
    rows = [
        (
            bar.text,
            f"{'≤' if bar.at_most else '≥'} {bar.limit:g}",
            str(bar.measured) if isinstance(bar.measured, int) else number(bar.measured),
            verdicts[bar.holds],
        )
        for bar in given
    ]
    return table(("what", "bar", "measured", "holds"), rows, left=1)


def logits_table(cases: Sequence[MeasuredCase]) -> str:
    """Contenders of one shape; several cases of it (allocators) stand side by side.

    Time and its ratio to cross-entropy for each; memory and bandwidth are those of the first.
    """
    first = cases[0]
    header = ["loss"]
    for case in cases:
        header += [f"{case.content['malloc']}: {TIME}" if len(cases) > 1 else TIME, "× CE"]
    header += ["extra MB", "× CE"]
    waits = any("synchronizations" in figures for figures in first.contenders.values())
    dense = first.kind == "dense"
    header += ["of `clone`"] if dense else []
    header += ["waits"] if waits else []
    rows = []
    for contender in _in_order(first):
        cells = [LABELS[contender]]
        for case in cases:
            cells += [_time(case, contender), number(case.ratio(contender))]
        cells.append(megabytes(first.get(contender, "extra_bytes")))
        cells.append(number(first.ratio(contender, measure="extra_bytes")))
        if dense:
            share = first.of_clone(contender) if contender.startswith("lmp") else None
            cells.append(number(share))
        if waits:
            cells.append(number(first.get(contender, "synchronizations")))
        rows.append(cells)
    return table(header, rows, left=1)


def solver_table(case: MeasuredCase) -> str:
    """The contenders on the losses of one image."""
    rows = [
        (LABELS[name], _time(case, name), number(case.ratio(name, "lmp")))
        for name in _in_order(case)
    ]
    return table(("of the losses of one image", TIME, "× ours"), rows, left=1)


def scaling_table(scaling: Sequence[MeasuredCase]) -> str:
    """Nanoseconds per pixel, one row per number of losses, and k of time ~ n^k."""
    names = list(scaling[0].contenders)
    rows: list[Sequence[str]] = []
    for case in scaling:
        n = case.shape[3]
        per_pixel = [case.get(name, "median_ms") for name in names]
        cells = [number(None if ms is None else 1e6 * ms / n) for ms in per_pixel]
        rows.append((f"2^{math.log2(n):g}", *cells))
    rows.append(("k", *(number(exponent(scaling, name)) for name in names)))
    return table(("losses", *(LABELS[name] for name in names)), rows, left=1)


def left_out(cases: Iterable[MeasuredCase]) -> str:
    """One line per contender that did not take part, with the reason."""
    reasons = {name: reason for case in cases for name, reason in case.content["left_out"].items()}
    return "\n".join(f"- {LABELS[name]} did not take part: {why}." for name, why in reasons.items())


def number(value: float | None) -> str:
    """Three significant digits; large numbers without decimals."""
    if value is None:
        return NOT_MEASURED
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{2 if abs(value) < 10 else 1}f}"


def megabytes(value: float | None) -> str:
    """Bytes in units of 10^6."""
    return number(None if value is None else value / 1e6)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> str:
    """A Markdown table whose first columns are left-aligned, the others right-aligned."""
    rule = [":--"] * left + ["--:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def _in_order(case: MeasuredCase) -> list[str]:
    """Cross-entropy, rivals, ours, the ceiling."""
    return [name for name in LABELS if name in case.contenders]


def _time(case: MeasuredCase, contender: str) -> str:
    """Median and quantiles of milliseconds."""
    figures = (case.get(contender, quantile) for quantile in ("median_ms", "q20_ms", "q80_ms"))
    median, low, high = (number(figure) for figure in figures)
    return f"{median} ({low}–{high})"
