"""What the figures share: canvas, text, axes, the marker of a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lossmaxpool.report.axes import Scale, tick_text
from lossmaxpool.report.markup import Child, Markup, element

# One for each of the paper's methods; further ones repeat them with another marker.
METHOD_COLORS = 6


def canvas(
    width: float, height: float, description: str | None, *children: Child, class_: str = "figure"
) -> Markup:
    """An SVG that scales with the page and reads aloud as its description, or is silent."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        class_=class_,
        role="img" if description else None,
        aria_label=description,
        aria_hidden=None if description else "true",
    )


def text(
    x: float, y: float, content: str, *, anchor: str = "start", class_: str = "tick"
) -> Markup:
    return element("text", content, x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    return element("polyline", points=_coordinates(points), class_=class_)


def polygon(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    return element("polygon", points=_coordinates(points), class_=class_)


def marker(method: int, x: float, y: float, title: str | None = None) -> Markup:
    """The mark of a method: its own shape as well as its own colour."""
    hint = element("title", title) if title else None
    class_ = f"mark {color(method)}"
    r = 4.5
    shape = method % 4
    if shape == 0:
        return element("circle", hint, cx=x, cy=y, r=r, class_=f"{class_} hollow")
    if shape == 1:
        return element("circle", hint, cx=x, cy=y, r=r, class_=class_)
    if shape == 2:
        return element("rect", hint, x=x - 4, y=y - 4, width=8, height=8, class_=class_)
    corners = [(x, y - r - 0.5), (x + r + 0.5, y + r - 0.5), (x - r - 0.5, y + r - 0.5)]
    return element("polygon", hint, points=_coordinates(corners), class_=class_)


def key(method: int) -> Markup:
    """The mark of a method, small enough to stand in a line of text."""
    return canvas(14, 12, None, marker(method, 7, 6), class_="key")


def color(method: int) -> str:
    """The class that carries a method's colour."""
    return f"m{method % METHOD_COLORS}"


def left_axis(scale: Scale, ticks: Sequence[float], left: float, right: float) -> list[Markup]:
    """Horizontal grid lines with their numbers; the zero line stands out."""
    parts = []
    for tick in ticks:
        y = scale(tick)
        parts.append(line(left, y, right, y, "zero" if tick == 0 else "grid"))
        parts.append(text(left - 6, y + 4, tick_text(tick), anchor="end"))
    return parts


def bottom_axis(
    scale: Scale,
    ticks: Sequence[float],
    top: float,
    bottom: float,
    word: Callable[[float], str] = tick_text,
) -> list[Markup]:
    """Vertical grid lines with their numbers, worded by `word`."""
    parts = []
    for tick in ticks:
        x = scale(tick)
        parts.append(line(x, top, x, bottom, "grid"))
        parts.append(text(x, bottom + 17, word(tick), anchor="middle"))
    return parts


def _coordinates(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
