"""mIoU over p and over m: a line per setting held fixed, a level for each method without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lossmaxpool.report.axes import Scale, linear_ticks
from lossmaxpool.report.drawing import canvas, color, left_axis, line, marker, polyline, text
from lossmaxpool.report.formats import number
from lossmaxpool.report.labels import apart, text_width
from lossmaxpool.report.markup import Markup

WIDTH, PANEL = 640, 330
# To the right of the lines their names; below them the numbers and the name of the axis.
LEFT, RIGHT, TOP, BOTTOM = 44, 190, 30, 46
NOTE = 26
# From the end of a plot to its names: their markers stand in between.
NAMES = 26


@dataclass(frozen=True)
class Line:
    """What one method reached with either p or m / n fixed: mIoU of its seeds by the other."""

    label: str
    points: Mapping[float, Sequence[float]]


@dataclass(frozen=True)
class Level:
    """What a method without a weighting set reached: mIoU of its seeds."""

    label: str
    values: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """Lines over one parameter.

    Args:
        axis: The parameter, "p" or "m / n".
        lines: At least one.
    """

    axis: str
    lines: Sequence[Line]


def sweep_figure(panels: Sequence[Panel], levels: Sequence[Level]) -> Markup:
    """Percent mIoU over each parameter, one panel below the other, on one scale.

    The values of a parameter stand at equal distances, in their order: exponents near 1 and
    infinity would have no room on any scale.

    Args:
        panels: At least one.
        levels: Dashed in every panel.
    """
    values = [
        v for p in panels for each in p.lines for seeds in each.points.values() for v in seeds
    ]
    values += [v for level in levels for v in level.values]
    ticks = linear_ticks(100 * min(values), 100 * max(values), 5)
    parts: list[Markup] = []
    for row, panel in enumerate(panels):
        parts += _panel(panel, levels, ticks, row * PANEL)
    height = len(panels) * PANEL + NOTE
    note = "Means over the seeds; bars reach from the lowest seed to the highest."
    parts.append(text(LEFT, height - 8, note))
    names = [each.label for panel in panels for each in panel.lines]
    names += [level.label for level in levels]
    axes = " and over ".join(panel.axis for panel in panels)
    # The longest name has its room, however long it is.
    width = max(WIDTH, WIDTH - RIGHT + NAMES + max(map(text_width, names)))
    return canvas(width, height, f"mIoU over {axes}: {'; '.join(names)}", *parts)


def _panel(
    panel: Panel, levels: Sequence[Level], ticks: Sequence[float], top: float
) -> list[Markup]:
    right, bottom = WIDTH - RIGHT, top + PANEL - BOTTOM
    places = sorted({value for each in panel.lines for value in each.points})
    x = Scale(0, max(len(places) - 1, 1), LEFT + 16, right - 16)
    y = Scale(ticks[0], ticks[-1], bottom, top + TOP)
    parts = [
        *left_axis(y, ticks, LEFT, right),
        text(LEFT, top + 16, "mIoU (%)", class_="axis"),
        text(right, bottom + 38, panel.axis, anchor="end", class_="axis"),
    ]
    for i, value in enumerate(places):
        parts.append(text(x(i), bottom + 18, number(value), anchor="middle"))
    ends: list[tuple[float, str, int | None]] = []
    for level in levels:
        height = y(100 * fmean(level.values))
        parts.append(line(LEFT, height, right, height, "level"))
        parts.append(_bar(right - 4, level.values, y, "level-span"))
        ends.append((height, level.label, None))
    for index, each in enumerate(panel.lines):
        at = [(x(places.index(value)), each.points[value]) for value in sorted(each.points)]
        means = [(across, y(100 * fmean(seeds))) for across, seeds in at]
        parts.append(polyline(means, f"curve {color(index)}"))
        parts += [_bar(across, seeds, y, f"span {color(index)}") for across, seeds in at]
        parts += [marker(index, *mean) for mean in means]
        ends.append((means[-1][1], each.label, index))
    ends.sort(key=lambda end: end[0])
    for (_, label, key), height in zip(ends, apart([end[0] for end in ends], bottom), strict=True):
        parts.append(text(right + NAMES, height + 4, label, class_="name"))
        parts.append(
            line(right + 5, height, right + 21, height, "level")
            if key is None
            else marker(key, right + 13, height)
        )
    return parts


def _bar(across: float, seeds: Sequence[float], y: Scale, class_: str) -> Markup:
    return line(across, y(100 * min(seeds)), across, y(100 * max(seeds)), class_)
