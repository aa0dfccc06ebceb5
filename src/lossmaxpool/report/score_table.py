"""The page's table: IoU per class, mIoU and pixel accuracy, with gains."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lossmaxpool.report.drawing import key
from lossmaxpool.report.formats import interval, percent, points, share
from lossmaxpool.report.markup import Markup, element
from lossmaxpool.report.scrolling import scrolling
from lossmaxpool.report.statistics import Gain, MethodSummary, Score, Summary


def score_table(summary: Summary) -> list[Markup]:
    """What the numbers are, and the table; the rare classes stand together at its end."""
    frequent = [c for c in summary.by_share if c not in summary.rare and summary.train_share[c]]
    absent = [c for c in summary.by_share if not summary.train_share[c]]
    columns = 2 + sum(2 if m.gains else 1 for m in summary.methods)
    groups = [("rare classes", summary.rare), ("without a training pixel", absent)]
    totals = (
        _row("mIoU", "", ((m.miou, m.gains.miou if m.gains else None) for m in summary.methods)),
        _row("pixel accuracy", "", map(_accuracy, summary.methods)),
    )
    table = element(
        "table",
        element("thead", _head(summary)),
        element("tbody", *(_class(summary, c) for c in frequent)),
        *(
            element(
                "tbody",
                element("tr", element("th", name, colspan=columns, class_="group")),
                *(_class(summary, c) for c in members),
            )
            for name, members in groups
            if members
        ),
        element("tfoot", *totals),
        class_="scores",
    )
    return [element("p", _explanation(summary), class_="note"), scrolling("IoU per class", table)]


def _explanation(summary: Summary) -> str:
    text = "IoU in percent"
    if any(m.miou.n > 1 for m in summary.methods):
        text += ": mean over seeds, ± sample standard deviation"
    text += ". Classes in the order of their share of the training pixels."
    if summary.baseline and summary.rivals:
        base = summary.baseline.method.label
        text += f" Gains are in points, over {base} with the same seed"
        if any(m.gains and m.gains.miou.n > 1 for m in summary.methods):
            text += (
                "; bold where the 95 % t-interval below excludes zero, "
                "as one in twenty does by chance alone"
            )
        text += "."
    return text


def _head(summary: Summary) -> Markup:
    cells = [element("th", "class", scope="col"), element("th", "share %", scope="col")]
    for index, m in enumerate(summary.methods):
        cells.append(element("th", key(index), m.method.label, scope="col"))
        if m.gains:
            cells.append(element("th", "gain", scope="col"))
    return element("tr", *cells)


def _class(summary: Summary, c: int) -> Markup:
    measured = ((m.iou[c], m.gains.iou[c] if m.gains else None) for m in summary.methods)
    return _row(summary.comparison.classes[c], share(summary.train_share[c]), measured)


def _accuracy(method: MethodSummary) -> tuple[Score, Gain | None]:
    return method.pixel_accuracy, method.gains.pixel_accuracy if method.gains else None


def _row(name: str, held: str, measured: Iterable[tuple[Score, Gain | None]]) -> Markup:
    cells = [element("th", name, scope="row"), element("td", held, class_="quiet")]
    for score, gain in measured:
        std = None if math.isnan(score.std) else element("small", f"± {percent(score.std)}")
        cells.append(element("td", percent(score.mean), std))
        if gain is not None:
            amount = element("b" if gain.settled else "span", points(gain.mean))
            bounds = element("small", interval(gain)) if gain.n > 1 else None
            cells.append(element("td", amount, bounds))
    return element("tr", *cells)
