"""Learning curves: a line per method (mean over seeds) in a band from the lowest to the highest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from lossmaxpool.report.axes import Scale, linear_ticks, ticks_inside
from lossmaxpool.report.comparison import Run
from lossmaxpool.report.drawing import (
    bottom_axis,
    canvas,
    color,
    left_axis,
    marker,
    polygon,
    polyline,
    text,
)
from lossmaxpool.report.markup import Markup
from lossmaxpool.report.statistics import Summary

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 26, 40
# A batch's cross-entropy jumps from step to step; means over this many parts of a training show
# its course.
PARTS = 30
# Up to this many, the values themselves are marked: a single one would draw no line at all.
MARKED = 12


@dataclass(frozen=True)
class CurveSample:
    """One abscissa of a curve: mean, lowest and highest over the seeds."""

    step: float
    mean: float
    low: float
    high: float


def miou_figure(summary: Summary) -> Markup:
    """Percent mIoU over training steps."""
    return _figure(
        summary,
        "mIoU (%)",
        lambda run: [(e.step, 100 * e.miou) for e in run.evaluations],
    )


def cross_entropy_figure(summary: Summary) -> Markup:
    """Plain mean cross-entropy of the training batches over steps, averaged in parts."""
    return _figure(
        summary,
        "cross-entropy of the training batches",
        lambda run: in_parts([(p.step, p.cross_entropy) for p in run.curve], PARTS),
    )


def in_parts(points: Sequence[tuple[float, float]], parts: int) -> list[tuple[float, float]]:
    """Means of the finite values over equal stretches of the steps; few points stay as they are.

    Example:
        >>> in_parts([(1, 4.0), (2, 2.0), (3, 1.0), (4, 1.0)], 2)
        [(1.5, 3.0), (3.5, 1.0)]
    """
    if len(points) <= parts:
        return list(points)
    end = max(step for step, _ in points)
    binned: dict[int, list[tuple[float, float]]] = {}
    for step, value in points:
        if math.isfinite(value):
            binned.setdefault(min(parts - 1, math.ceil(step * parts / end) - 1), []).append(
                (step, value)
            )
    return [
        (fmean(step for step, _ in members), fmean(value for _, value in members))
        for _, members in sorted(binned.items())
    ]


def over_seeds(curves: Iterable[Sequence[tuple[float, float]]]) -> list[CurveSample]:
    """Mean, lowest and highest at the steps where every curve has a finite value."""
    tables = [{s: value for s, value in curve if math.isfinite(value)} for curve in curves]
    common = sorted(set.intersection(*(set(table) for table in tables)))
    return [
        CurveSample(
            step,
            fmean(table[step] for table in tables),
            min(table[step] for table in tables),
            max(table[step] for table in tables),
        )
        for step in common
    ]


def _figure(
    summary: Summary,
    title: str,
    curve: Callable[[Run], Sequence[tuple[float, float]]],
) -> Markup:
    samples = [over_seeds(curve(run) for run in m.method.runs) for m in summary.methods]
    steps = [sample.step for each in samples for sample in each]
    end = max(steps, default=1)
    y_ticks = linear_ticks(0, max((s.high for each in samples for s in each), default=1), 4)
    x = Scale(0, end, LEFT, WIDTH - RIGHT)
    y = Scale(0, y_ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [
        *left_axis(y, y_ticks, LEFT, WIDTH - RIGHT),
        *bottom_axis(x, ticks_inside(0, end, 4), TOP, HEIGHT - BOTTOM),
        text(LEFT, 14, title, class_="axis"),
        text(WIDTH - RIGHT, HEIGHT - 6, "training step", anchor="end", class_="axis"),
    ]
    for index, each in enumerate(samples):
        band = [(x(s.step), y(s.high)) for s in each] + [(x(s.step), y(s.low)) for s in each[::-1]]
        parts.append(polygon(band, f"band {color(index)}"))
    for index, each in enumerate(samples):
        line = [(x(s.step), y(s.mean)) for s in each]
        parts.append(polyline(line, f"curve {color(index)}"))
        if len(line) <= MARKED:
            parts += [marker(index, *at) for at in line]
    ends = ", ".join(
        f"{m.method.label} {each[0].mean:.3g} to {each[-1].mean:.3g}"
        for m, each in zip(summary.methods, samples, strict=True)
        if each
    )
    return canvas(WIDTH, HEIGHT, f"{title} over training steps: {ends}", *parts)
