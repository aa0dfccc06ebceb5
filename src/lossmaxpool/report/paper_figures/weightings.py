"""Optimal weightings of sorted losses (Rota Bulò et al. 2017, Fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lossmaxpool.report.axes import Scale, linear_ticks, ticks_inside
from lossmaxpool.report.drawing import bottom_axis, canvas, left_axis, polygon, polyline, text
from lossmaxpool.report.markup import Markup
from lossmaxpool.report.paper_figures.ramp import names, ramp

PANEL, HEIGHT, STRIP = 330, 280, 70
LEFT, RIGHT, TOP, GAP, BOTTOM = 46, 78, 34, 44, 44


@dataclass(frozen=True)
class Weightings:
    """The curves of one panel.

    Args:
        title: What is fixed.
        curves: By name, from the most selective on, w* of the sorted losses.
    """

    title: str
    curves: Mapping[str, Sequence[float]]


def weightings_figure(losses: Sequence[float], panels: Sequence[Weightings]) -> Markup:
    """One panel per fixed parameter, w* over the rank of the loss; the losses stand below.

    Args:
        losses: (n,) in ascending order.
        panels: The curves.
    """
    across = LEFT + PANEL + RIGHT
    parts: list[Markup] = []
    for i, panel in enumerate(panels):
        parts += _panel(losses, panel, i * across + LEFT)
    described = "; ".join(f"{panel.title}: {', '.join(panel.curves)}" for panel in panels)
    height = TOP + HEIGHT + GAP + STRIP + BOTTOM
    return canvas(
        across * len(panels),
        height,
        f"Optimal weights of {len(losses)} losses. {described}",
        *parts,
    )


def _panel(losses: Sequence[float], panel: Weightings, left: float) -> list[Markup]:
    n, right, bottom = len(losses), left + PANEL, TOP + HEIGHT
    ticks = linear_ticks(0, max(max(curve) for curve in panel.curves.values()), 5)
    x = Scale(1, n, left, right)
    y = Scale(0, ticks[-1], bottom, TOP)
    ranks = [1.0, *(float(n * k // 4) for k in range(1, 5))]
    parts = [text(left, 18, panel.title, class_="name title")]
    parts += left_axis(y, ticks, left, right)
    parts += bottom_axis(x, ranks, TOP, bottom)
    parts.append(text(left + 5, TOP + 12, "weight w*", class_="axis"))
    count = len(panel.curves)
    for i, curve in enumerate(panel.curves.values()):
        line = [(x(k), y(weight)) for k, weight in enumerate(curve, 1)]
        parts.append(polyline(line, f"curve {ramp(i, count)}"))
    ends = [y(curve[-1]) for curve in panel.curves.values()]
    parts += names(list(panel.curves), ends, right + 7, bottom)
    return parts + _losses(losses, x, left, bottom + GAP)


def _losses(losses: Sequence[float], x: Scale, left: float, top: float) -> list[Markup]:
    bottom = top + STRIP
    y = Scale(0, max(losses), bottom, top)
    ground = [(x(k), y(loss)) for k, loss in enumerate(losses, 1)]
    return [
        *left_axis(y, ticks_inside(0, max(losses), 2), left, left + PANEL),
        polygon([*ground, (x(len(losses)), bottom), (x(1), bottom)], "losses"),
        text(left + 5, top - 5, "pixel loss", class_="axis"),
        text(left + PANEL, bottom + 20, "pixels, by loss", anchor="end", class_="axis"),
    ]
