"""Gain per class against class pixel share (after Rota Bulò et al. 2017, Fig. 3)."""

from __future__ import annotations

import math

from lossmaxpool.report.axes import Scale, log_ticks, ticks_inside
from lossmaxpool.report.drawing import bottom_axis, canvas, left_axis, text
from lossmaxpool.report.formats import share
from lossmaxpool.report.gain_points import ClassGain, describe, gain_points
from lossmaxpool.report.labels import Box
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
    classes = [
        ClassGain(
            summary.comparison.classes[c],
            100 * summary.train_share[c],
            gains.iou[c],
            f"{share(summary.train_share[c])} % of the pixels",
        )
        for c in shown
    ]
    parts += gain_points(classes, index, x, y, Box(LEFT, TOP, width - 2, height - BOTTOM))
    description = describe(f"{rival.method.label} over {baseline.method.label}", classes)
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
