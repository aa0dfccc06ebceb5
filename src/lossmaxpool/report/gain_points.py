"""Classes as points: how frequent each is, how much it gained, and its name beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossmaxpool.report.axes import Scale
from lossmaxpool.report.drawing import color, line, marker, text
from lossmaxpool.report.formats import points
from lossmaxpool.report.labels import Box, Label, place
from lossmaxpool.report.markup import Markup
from lossmaxpool.report.statistics import Gain


@dataclass(frozen=True)
class ClassGain:
    """One class of a gain figure.

    Args:
        name: Of the class.
        at: Its place on the horizontal axis.
        gain: In fractions, with at least one seed.
        frequency: Its place in words.
    """

    name: str
    at: float
    gain: Gain
    frequency: str


def gain_points(
    classes: Sequence[ClassGain], method: int, x: Scale, y: Scale, bounds: Box
) -> list[Markup]:
    """Bars over the seeds, marks, and names that cover neither each other nor a mark.

    Args:
        classes: Rarest first: the first ones get the best places for their names.
        method: Decides colour and shape of the marks.
        x: Scale of ``at``.
        y: Scale of the gains in points.
        bounds: Where names may stand.
    """
    spots = [(x(each.at), y(100 * each.gain.mean)) for each in classes]
    spans = [[y(100 * value) for value in each.gain.by_seed.values()] for each in classes]
    bars = [(at, min(span), max(span)) for (at, _), span in zip(spots, spans, strict=True)]
    parts = [line(at, top, at, bottom, f"span {color(method)}") for at, top, bottom in bars]
    for each, spot in zip(classes, spots, strict=True):
        hint = f"{each.name}: {points(each.gain.mean)} points, {each.frequency}"
        parts.append(marker(method, *spot, hint))
    obstacles = [Box(at - 5, up - 5, at + 5, up + 5) for at, up in spots]
    obstacles += [Box(at - 2, top, at + 2, bottom) for at, top, bottom in bars]
    obstacles.append(Box(bounds.left, y(0) - 1, bounds.right, y(0) + 1))
    names = [each.name for each in classes]
    labels = place(names, spots, obstacles, bounds)
    for name, spot, label in zip(names, spots, labels, strict=True):
        if label is None:
            continue
        if label.leader:
            parts.append(_leader(label, *spot))
        parts.append(text(label.x, label.baseline, name, class_="name"))
    return parts


def describe(what: str, classes: Sequence[ClassGain]) -> str:
    """The figure in a sentence."""
    gains = ", ".join(f"{each.name} {points(each.gain.mean)}" for each in classes)
    return f"Gain of {what} per class, rarest first: {gains}"


def _leader(label: Label, x: float, y: float) -> Markup:
    near_x = min(max(x, label.box.left), label.box.right)
    near_y = min(max(y, label.box.top), label.box.bottom)
    return line(x, y, near_x, near_y, "leader")
