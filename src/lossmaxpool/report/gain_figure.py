"""Gain per class against class pixel share (after Rota Bulò et al. 2017, Fig. 3)."""

from __future__ import annotations

import math

from lossmaxpool.report.axes import Scale, log_ticks, ticks_inside
from lossmaxpool.report.drawing import bottom_axis, canvas, color, left_axis, line, marker, text
from lossmaxpool.report.formats import points, share
from lossmaxpool.report.labels import Box, Label, place
from lossmaxpool.report.markup import Markup, element
from lossmaxpool.report.statistics import Gains, MethodSummary, Summary

LEFT, RIGHT, TOP, BOTTOM = 40, 12, 26, 44


def gain_figure(
    summary: Summary, rival: MethodSummary, width: float, height: float, class_: str
) -> Markup:
    """One point per class: its share of the training pixels (log scale) and its gain.

    A thin bar spans the seeds. The axes are the same for every rival of a comparison.
    """
    gains, baseline = rival.gains, summary.baseline
    assert baseline is not None, "a gain figure needs a baseline"
    assert gains is not None, "a gain figure shows another method than the baseline"
    shown = _shown(summary, gains)
    x, y = _scales(summary, width, height)
    index = summary.methods.index(rival)
    parts: list[Markup | None] = [_rare_region(summary, x, height)]
    parts += left_axis(y, ticks_inside(y.low, y.high, 6), LEFT, width - RIGHT)
    parts += bottom_axis(x, log_ticks(x.low, x.high), TOP, height - BOTTOM)
    parts += [
        text(LEFT, 14, "gain in IoU points", class_="axis"),
        text(
            width - RIGHT,
            height - 6,
            "share of the training pixels (%)",
            anchor="end",
            class_="axis",
        ),
    ]
    spots = {c: (x(100 * summary.train_share[c]), y(100 * gains.iou[c].mean)) for c in shown}
    spans = {c: [y(100 * value) for value in gains.iou[c].by_seed.values()] for c in shown}
    for c in shown:
        at = spots[c][0]
        parts.append(line(at, min(spans[c]), at, max(spans[c]), f"span {color(index)}"))
    for c in shown:
        hint = (
            f"{summary.comparison.classes[c]}: {points(gains.iou[c].mean)} points, "
            f"{share(summary.train_share[c])} % of the pixels"
        )
        parts.append(marker(index, *spots[c], hint))
    parts += _labels(summary, shown, spots, spans, y(0), Box(LEFT, TOP, width - 2, height - BOTTOM))
    description = (
        f"Gain of {rival.method.label} over {baseline.method.label} per class, rarest first: "
    )
    description += ", ".join(
        f"{summary.comparison.classes[c]} {points(gains.iou[c].mean)}" for c in shown
    )
    return canvas(width, height, description, *parts, class_=f"figure {class_}")


def _shown(summary: Summary, gains: Gains) -> list[int]:
    """Rarest first, so that rare classes get the best places for their labels."""
    return [c for c in summary.by_share[::-1] if gains.iou[c].n and summary.train_share[c] > 0]


def _scales(summary: Summary, width: float, height: float) -> tuple[Scale, Scale]:
    values, shares = [0.0], []
    for rival in summary.rivals:
        if rival.gains:
            for c in _shown(summary, rival.gains):
                values += [100 * value for value in rival.gains.iou[c].by_seed.values()]
                shares.append(100 * summary.train_share[c])
    margin = 0.08 * (max(values) - min(values)) or 1.0
    return (
        Scale(min(shares) / 1.6, min(120, max(shares) * 1.9), LEFT, width - RIGHT, log=True),
        Scale(min(values) - margin, max(values) + margin, height - BOTTOM, TOP),
    )


def _rare_region(summary: Summary, x: Scale, height: float) -> Markup | None:
    """Ground under the rare classes, up to midway to the next class."""
    rare = [100 * summary.train_share[c] for c in summary.rare]
    others = [
        100 * value
        for c, value in enumerate(summary.train_share)
        if value > 0 and c not in summary.rare
    ]
    if not others or max(rare) <= x.low:
        return None
    edge = x(math.sqrt(max(rare) * min(others)))
    return element(
        "rect", x=LEFT, y=TOP, width=edge - LEFT, height=height - BOTTOM - TOP, class_="rare"
    )


def _labels(
    summary: Summary,
    shown: list[int],
    spots: dict[int, tuple[float, float]],
    spans: dict[int, list[float]],
    zero: float,
    bounds: Box,
) -> list[Markup]:
    obstacles = [Box(at - 5, up - 5, at + 5, up + 5) for at, up in spots.values()]
    obstacles += [Box(spots[c][0] - 2, min(s), spots[c][0] + 2, max(s)) for c, s in spans.items()]
    obstacles.append(Box(bounds.left, zero - 1, bounds.right, zero + 1))
    names = [summary.comparison.classes[c] for c in shown]
    parts = []
    for name, c, label in zip(
        names, shown, place(names, [spots[c] for c in shown], obstacles, bounds), strict=True
    ):
        if label is None:
            continue
        if label.leader:
            parts.append(_leader(label, *spots[c]))
        parts.append(text(label.x, label.baseline, name, class_="name"))
    return parts


def _leader(label: Label, x: float, y: float) -> Markup:
    near_x = min(max(x, label.box.left), label.box.right)
    near_y = min(max(y, label.box.top), label.box.bottom)
    return line(x, y, near_x, near_y, "leader")
