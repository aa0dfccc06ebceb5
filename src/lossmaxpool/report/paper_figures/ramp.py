"""A ramp of colours over the curves of one figure, and their names in a column beside them."""

from __future__ import annotations

from collections.abc import Sequence

from lossmaxpool.report.labels import apart
from lossmaxpool.report.markup import Markup, element

SHEET = "ramp.css"
STEPS = 9
LINE = 15


def ramp(index: int, count: int) -> str:
    """The class that carries the colour of curve ``index`` of ``count``, warm to cool."""
    return f"r{round(index * (STEPS - 1) / max(1, count - 1))}"


def names(labels: Sequence[str], heights: Sequence[float], x: float, lowest: float) -> list[Markup]:
    """The curves' names at their ends, moved apart where these are close.

    Args:
        labels: From the curve that ends highest to the one that ends lowest.
        heights: Where the curves end; y grows downwards.
        x: Where the names start.
        lowest: The lowest place of a name.
    """
    places = apart([height + 4 for height in heights], lowest, LINE)
    return [
        element("text", label, x=x, y=y, class_=f"name ramp {ramp(i, len(labels))}")
        for i, (label, y) in enumerate(zip(labels, places, strict=True))
    ]
