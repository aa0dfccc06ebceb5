"""mIoU over p: a line per method and support, a level for each method that has no p."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lossmaxpool.report.axes import Scale, linear_ticks
from lossmaxpool.report.drawing import canvas, color, left_axis, line, marker, polyline, text
from lossmaxpool.report.markup import Markup

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 44, 190, 30, 46
# Labels at the right end keep at least this distance from one another.
LABEL_STEP = 16


@dataclass(frozen=True)
class Line:
    """What one method, with one support, reached: mIoU as fractions, by p (NaN: it has none)."""

    label: str
    points: dict[float, list[float]]


def sweep_figure(lines: Sequence[Line]) -> Markup:
    """Percent mIoU over p. Marks are means over seeds, bars reach from the lowest to the highest.

    The exponents stand at equal distances, in their order: those near 1 and infinity would have no
    room on any scale.
    """
    exponents = sorted({p for each in lines for p in each.points if not math.isnan(p)})
    values = [100 * v for each in lines for seeds in each.points.values() for v in seeds]
    ticks = linear_ticks(min(values), max(values), 5)
    x = Scale(0, max(len(exponents) - 1, 1), LEFT + 16, WIDTH - RIGHT - 10)
    y = Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [
        *left_axis(y, ticks, LEFT, WIDTH - RIGHT),
        text(LEFT, 16, "mIoU (%)", class_="axis"),
        text(WIDTH - RIGHT, HEIGHT - 8, "p", anchor="end", class_="axis"),
    ]
    for i, p in enumerate(exponents):
        name = "\N{INFINITY}" if math.isinf(p) else f"{p:g}"
        parts.append(text(x(i), HEIGHT - BOTTOM + 18, name, anchor="middle"))
    ends = []
    for index, each in enumerate(lines):
        if all(map(math.isnan, each.points)):
            level = 100 * fmean(next(iter(each.points.values())))
            parts.append(line(LEFT, y(level), WIDTH - RIGHT, y(level), f"curve {color(index)}"))
            ends.append((y(level), index, each.label))
            continue
        at = [(x(exponents.index(p)), each.points[p]) for p in sorted(each.points)]
        means = [(place, y(100 * fmean(seeds))) for place, seeds in at]
        parts.append(polyline(means, f"curve {color(index)}"))
        for place, seeds in at:
            parts.append(
                line(
                    place, y(100 * min(seeds)), place, y(100 * max(seeds)), f"curve {color(index)}"
                )
            )
        parts += [marker(index, *place) for place in means]
        ends.append((means[-1][1], index, each.label))
    lowest = -math.inf
    for height, index, label in sorted(ends):
        lowest = max(height + 4, lowest + LABEL_STEP)
        parts.append(text(WIDTH - RIGHT + 24, lowest, label))
        parts.append(marker(index, WIDTH - RIGHT + 12, lowest - 4))
    described = "; ".join(each.label for each in lines)
    return canvas(WIDTH, HEIGHT, f"mIoU over p: {described}", *parts)
