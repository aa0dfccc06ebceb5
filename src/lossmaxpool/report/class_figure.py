"""IoU of every class under every method: one row per class, one marker per method."""

from __future__ import annotations

import math

from lossmaxpool.report.axes import Scale
from lossmaxpool.report.drawing import bottom_axis, canvas, color, line, marker, text
from lossmaxpool.report.formats import with_std
from lossmaxpool.report.labels import text_width
from lossmaxpool.report.markup import Markup, element
from lossmaxpool.report.statistics import Summary

ROW, TOP, BOTTOM, RIGHT = 27, 8, 26, 16
LONGEST_NAME = 18


def class_figure(summary: Summary, width: float, class_: str) -> Markup:
    """IoU in percent, classes by pixel share, the rare ones last; small dots are single seeds."""
    names = [_short(name) for name in summary.comparison.classes]
    left = max(text_width(name) for name in names) + 10
    height = TOP + ROW * len(names) + BOTTOM
    x = Scale(0, 100, left, width - RIGHT)
    # Classes without a training pixel sort behind the rare ones and are not rare themselves.
    parts = [
        element(
            "rect",
            x=left,
            y=TOP + ROW * row,
            width=width - RIGHT - left,
            height=ROW,
            class_="rare",
        )
        for row, c in enumerate(summary.by_share)
        if c in summary.rare
    ]
    parts += bottom_axis(x, [0, 20, 40, 60, 80, 100], TOP, height - BOTTOM)
    for row, c in enumerate(summary.by_share):
        y = TOP + ROW * (row + 0.5)
        title = element("title", summary.comparison.classes[c])
        parts.append(
            element("text", title, names[c], x=left - 10, y=y + 4, text_anchor="end", class_="name")
        )
        parts += _row(summary, c, x, y)
    listing = "; ".join(
        f"{summary.comparison.classes[c]}: "
        + ", ".join(f"{m.method.label} {with_std(m.iou[c])}" for m in summary.methods)
        for c in summary.by_share
    )
    description = f"IoU per class in percent. {listing}"
    return canvas(width, height, description, *parts, class_=f"figure {class_}")


def _row(summary: Summary, c: int, x: Scale, y: float) -> list[Markup]:
    means = [100 * m.iou[c].mean for m in summary.methods if not math.isnan(m.iou[c].mean)]
    if not means:
        return [text(x(0) + 6, y + 4, "absent", class_="tick")]
    parts = [line(x(min(means)), y, x(max(means)), y, "bar")]
    for index, m in enumerate(summary.methods):
        for run in m.method.runs if m.iou[c].n > 1 else ():
            value = run.results.iou[c]
            if not math.isnan(value):
                parts.append(
                    element("circle", cx=x(100 * value), cy=y, r=1.6, class_=f"seed {color(index)}")
                )
    # The first method's ring comes last: where marks coincide, the others show inside it.
    for index, m in reversed(list(enumerate(summary.methods))):
        if not math.isnan(m.iou[c].mean):
            hint = f"{m.method.label}: {with_std(m.iou[c])}"
            parts.append(marker(index, x(100 * m.iou[c].mean), y, hint))
    return parts


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
