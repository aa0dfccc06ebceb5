"""Spheres of the p-norm, and the set W, in two dimensions (Rota Bulò et al. 2017, Fig. 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lossmaxpool.report.axes import Scale, tick_text
from lossmaxpool.report.drawing import canvas, line, polygon, text
from lossmaxpool.report.markup import Markup, element
from lossmaxpool.report.paper_figures.ramp import LINE, ramp

Points = Sequence[tuple[float, float]]
PANEL, LEFT, TOP, RIGHT, BOTTOM = 346, 40, 38, 14, 34
# Between the panels: the names of the curves, then the numbers of the second axis.
GAP = 152
_TICKS = (-1.0, -0.5, 0.0, 0.5, 1.0)
_EXTENT = 1.12


def weighting_set_figure(
    spheres: Mapping[str, Points], ball: Points, weighting_set: Points, cap: float, title: str
) -> Markup:
    """Two panels: ||w||_p = 1 for several p, and W between its two bounds.

    Args:
        spheres: By the name of p, from the smallest on, the closed curve ||w||_p = 1.
        ball: The closed curve ||w||_p = gamma of the second panel.
        weighting_set: The boundary of W.
        cap: tau.
        title: n, p and tau of the second panel.
    """
    right = LEFT + PANEL + GAP
    x_sphere = Scale(-_EXTENT, _EXTENT, LEFT, LEFT + PANEL)
    x = Scale(-_EXTENT, _EXTENT, right, right + PANEL)
    y = Scale(-_EXTENT, _EXTENT, TOP + PANEL, TOP)
    parts = _plane(x_sphere, y, "‖w‖ₚ = 1") + _plane(x, y, f"the set W: {title}")
    for i, (name, points) in enumerate(spheres.items()):
        class_ = ramp(i, len(spheres))
        parts.append(polygon(_on(points, x_sphere, y), f"outline {class_}"))
        place = TOP + 14 + i * LINE
        parts.append(
            element(
                "text", f"p = {name}", x=LEFT + PANEL + 8, y=place, class_=f"name ramp {class_}"
            )
        )
    box = [(cap, cap), (-cap, cap), (-cap, -cap), (cap, -cap)]
    parts.append(polygon(_on(weighting_set, x, y), "region"))
    parts.append(polygon(_on(ball, x, y), "bound"))
    parts.append(polygon(_on(box, x, y), "bound"))
    parts.append(polygon(_on(weighting_set, x, y), "rim"))
    parts.append(text(x(0) + 6, y(max(up for _, up in ball)) - 6, "‖w‖ₚ = γ", class_="name"))
    # Of the subscripts, Unicode has the p and not the infinity.
    infinity = element("tspan", "∞", dy=3, font_size=9)
    rest = element("tspan", " = τ", dy=-3)
    parts.append(element("text", "‖w‖", infinity, rest, x=x(cap) + 6, y=y(cap) - 4, class_="name"))
    parts.append(text(x(0.07), y(0.1), "W", class_="name title"))
    described = f"Curves ||w||_p = 1 for p = {', '.join(spheres)}; the set W for {title}"
    return canvas(right + PANEL + RIGHT, TOP + PANEL + BOTTOM, described, *parts)


def _plane(x: Scale, y: Scale, heading: str) -> list[Markup]:
    left, right, bottom = x.start, x.end, y.start
    parts = [text(left, 20, heading, class_="name title")]
    for tick in _TICKS:
        class_ = "zero" if tick == 0 else "grid"
        parts.append(line(x(tick), TOP, x(tick), bottom, class_))
        parts.append(line(left, y(tick), right, y(tick), class_))
        parts.append(text(x(tick), bottom + 15, tick_text(tick), anchor="middle"))
        parts.append(text(left - 5, y(tick) + 4, tick_text(tick), anchor="end"))
    parts.append(text(right, bottom + 30, "w₁", anchor="end", class_="axis"))
    parts.append(text(left + 4, TOP + 10, "w₂", class_="axis"))
    return parts


def _on(points: Points, x: Scale, y: Scale) -> list[tuple[float, float]]:
    return [(x(across), y(up)) for across, up in points]
