"""The result of a run as two pictures: cost over that of cross-entropy, and time against size."""

from __future__ import annotations

from math import log2

from benchmarks.speed.contenders import BASELINE
from benchmarks.speed.results import Measured, Results
from benchmarks.speed.tables import LABELS, megabytes, number
from lossmaxpool.report.axes import Scale, linear_ticks
from lossmaxpool.report.drawing import (
    bottom_axis,
    canvas,
    left_axis,
    line,
    marker,
    polyline,
    text,
)
from lossmaxpool.report.files import standalone
from lossmaxpool.report.labels import apart
from lossmaxpool.report.markup import Markup, element

COST = "speed-{}-cost.svg"
SCALING = "speed-{}-scaling.svg"

WIDTH = 840
ROW, HEAD, FOOT, NAMES = 22, 34, 26, 232
PANEL, GAP = 242, 74
# Beyond, a bar is cut off and its number alone tells how long it is.
LONGEST = 2.5
STYLE = ".rival { fill: var(--zero); opacity: .55; } .group { font-weight: 600; }"


def cost_picture(results: Results) -> str:
    """Time and extra memory of every loss over those of cross-entropy, one group per shape."""
    cases = [*results.of("dense", malloc="default"), *results.of("upsampling")]
    panels = (
        ("time, forward + backward", "median_ms", NAMES),
        ("extra peak memory", "extra_bytes", NAMES + PANEL + GAP),
    )
    ratios = [
        ratio
        for case in cases
        for name in _losses(case)
        for _, measure, _ in panels
        if (ratio := case.ratio(name, measure=measure)) is not None
    ]
    ticks = linear_ticks(0, min(LONGEST, max(1.0, *ratios)), 4)
    parts = [text(0, 14, "F.cross_entropy = 1, less is better", class_="axis")]
    spoken = []
    top = 30.0
    for case in cases:
        rows = _losses(case)
        bottom = top + HEAD + ROW * len(rows)
        parts.append(text(0, top + 14, _title(case), class_="group"))
        for title, measure, left in panels:
            scale = Scale(0, ticks[-1], left, left + PANEL)
            parts += bottom_axis(scale, ticks, top + HEAD - 6, bottom)
            parts.append(line(scale(1), top + HEAD - 6, scale(1), bottom, "zero"))
            if case is cases[0]:
                parts.append(text(left, 14, title, class_="axis"))
            for row, name in enumerate(rows):
                parts += _bar(case, name, measure, scale, top + HEAD + ROW * row)
        for row, name in enumerate(rows):
            y = _baseline(top + HEAD + ROW * row)
            parts.append(text(NAMES - 10, y, _label(name), anchor="end", class_="name"))
            spoken.append(
                f"{_title(case)}, {_label(name)}: time {number(case.ratio(name))}, "
                f"memory {number(case.ratio(name, measure='extra_bytes'))}"
            )
        top = bottom + FOOT + 14
    return standalone(
        canvas(WIDTH, top, "Cost over cross-entropy. " + "; ".join(spoken), *parts), rules=STYLE
    )


def scaling_picture(results: Results) -> str:
    """Milliseconds against the number of losses, both by logarithm."""
    scaling = results.of("scaling")
    names = list(scaling[0].contenders)
    series = {
        name: [
            (case.shape[3], ms)
            for case in scaling
            if (ms := case.get(name, "median_ms")) is not None
        ]
        for name in names
    }
    times = [ms for points in series.values() for _, ms in points]
    height, left, right, top, bottom = 400.0, 56.0, 190.0, 30.0, 46.0
    x = Scale(scaling[0].shape[3], scaling[-1].shape[3], left, WIDTH - right, log=True)
    y = Scale(min(times) / 1.5, max(times) * 1.5, height - bottom, top, log=True)
    decades = [10.0**k for k in range(-4, 6) if y.low <= 10.0**k <= y.high]
    parts = left_axis(y, decades, left, WIDTH - right)
    for case in scaling:
        at = x(case.shape[3])
        parts.append(line(at, top, at, height - bottom, "grid"))
        exponent = element("tspan", f"{log2(case.shape[3]):g}", dy=-5, font_size=9)
        parts.append(
            element(
                "text",
                "2",
                exponent,
                x=at,
                y=height - bottom + 18,
                text_anchor="middle",
                class_="tick",
            )
        )
    parts.append(text(left, 14, "milliseconds, forward + backward", class_="axis"))
    parts.append(text(WIDTH - right, height - 6, "number of losses", anchor="end", class_="axis"))
    ends = sorted((y(points[-1][1]), name) for name, points in series.items())
    spread = apart([end for end, _ in ends], lowest=height, step=17)
    heights = {name: place for (_, name), place in zip(ends, spread, strict=True)}
    for index, (name, points) in enumerate(series.items()):
        spots = [(x(n), y(ms)) for n, ms in points]
        parts.append(polyline(spots, f"curve m{index}"))
        parts += [marker(index, *spot) for spot in spots]
        parts.append(text(spots[-1][0] + 10, heights[name] + 4, _label(name), class_="name"))
    spoken = "; ".join(
        f"{_label(name)}: {number(points[0][1])} ms for {points[0][0]} losses, "
        f"{number(points[-1][1])} ms for {points[-1][0]}"
        for name, points in series.items()
    )
    return standalone(
        canvas(WIDTH, height, f"Time against the number of losses. {spoken}", *parts), rules=STYLE
    )


def _bar(case: Measured, name: str, measure: str, scale: Scale, top: float) -> list[Markup]:
    ratio = case.ratio(name, measure=measure)
    if ratio is None:
        return []
    end = scale(min(ratio, scale.high))
    whose = "mark m0" if name.startswith("lmp_") and name != "lmp_by_sort" else "rival"
    bar = element(
        "rect", x=scale.start, y=top + 4, width=end - scale.start, height=ROW - 8, class_=whose
    )
    cut = "→ " if ratio > scale.high else ""
    return [bar, text(end + 5, _baseline(top), cut + number(ratio), class_="name")]


def _baseline(top: float) -> float:
    """Where the text of a row stands: in the middle of its bar."""
    return top + ROW / 2 + 4


def _losses(case: Measured) -> list[str]:
    return [name for name in LABELS if name in case.contenders and name not in (BASELINE, "clone")]


def _title(case: Measured) -> str:
    what = "Upsampling ×8" if case.kind == "upsampling" else "Dense logits"
    shape = "×".join(map(str, case.shape))
    baseline = case.get(BASELINE, "median_ms")
    memory = megabytes(case.get(BASELINE, "extra_bytes"))
    return (
        f"{what}, {shape}, {case.content['dtype']}; "
        f"cross-entropy takes {number(baseline)} ms and {memory} MB"
    )


def _label(name: str) -> str:
    return LABELS[name].replace("`", "")
