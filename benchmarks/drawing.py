"""The look that the pictures of all benchmarks share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

OURS, RIVAL = "#c2410c", "#9ca3af"
_STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#ddd",
    "grid.linewidth": 0.6,
    # Text stays text: it can be searched, read aloud and compared by the tests.
    "svg.fonttype": "none",
    # The ids in a file do not change with the process that writes it.
    "svg.hashsalt": "lossmaxpool",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw and save under the common style."""
    with mpl.rc_context(_STYLE):
        yield


def write(figure: Figure, path: Path) -> None:
    """Write a picture as SVG; its label is the description that a screen reader finds in it."""
    with drawing():
        figure.savefig(path, metadata={"Date": None, "Description": figure.get_label()})


def texts(figure: Figure) -> set[str]:
    """The words that a figure draws, without the numbers of its axes."""
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.majorTicks, *axis.minorTicks)
        for label in (tick.label1, tick.label2)
    }
    drawn = {text.get_text().strip() for text in figure.findobj(Text) if text not in ticks}
    named = {label.get_text() for axes in figure.axes for label in axes.get_yticklabels()}
    return {text for text in drawn | named if text and (text in drawn or text[0].isalpha())}


def svg_texts(content: str) -> set[str]:
    """The words in an SVG file that matplotlib wrote."""
    root = ElementTree.fromstring(content)
    return {
        "".join(element.itertext()).strip()
        for element in root.iter("{http://www.w3.org/2000/svg}text")
    }
