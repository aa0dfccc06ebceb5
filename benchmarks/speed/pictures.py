"""The result of a run as two pictures: cost over that of cross-entropy, and time against size."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.drawing import OURS, RIVAL, drawing
from benchmarks.speed.contenders import BASELINE
from benchmarks.speed.results import MeasuredCase, Results
from benchmarks.speed.tables import LABELS, megabytes, number

COST = "speed-{}-cost.svg"
SCALING = "speed-{}-scaling.svg"

# A longer bar is cut off, and its number says how long it is.
LONGEST = 2.5
MEASURES = {"time, forward + backward": "median_ms", "extra peak memory": "extra_bytes"}


def cost_picture(results: Results) -> Figure:
    """Time and extra memory of every loss over those of cross-entropy, one row per shape."""
    cases = [*results.of("dense", malloc="default"), *results.of("upsampling")]
    heights = [1 + len(_losses(case)) for case in cases]
    with drawing():
        figure = Figure(figsize=(8.4, 0.26 * sum(heights) + 0.5), layout="constrained")
        figure.suptitle("Cost over F.cross_entropy = 1; less is better", x=0.01, ha="left")
        rows = figure.subplots(len(cases), 2, height_ratios=heights, squeeze=False)
        for case, row in zip(cases, rows, strict=True):
            for axes, (title, measure) in zip(row, MEASURES.items(), strict=True):
                _bars(axes, case, measure)
                if case is cases[0]:
                    axes.set_xlabel(title)
                    axes.xaxis.set_label_position("top")
            row[0].set_title(_title(case), loc="left", weight="bold", fontsize=8)
            row[1].set_yticklabels([])
    spoken = "; ".join(
        f"{_title(case)}, {_label(name)}: time {number(case.ratio(name))}, "
        f"memory {number(case.ratio(name, measure='extra_bytes'))}"
        for case in cases
        for name in _losses(case)
    )
    figure.set_label(f"Cost over cross-entropy. {spoken}")
    return figure


def scaling_picture(results: Results) -> Figure:
    """Milliseconds against the number of losses, both by logarithm."""
    scaling = results.of("scaling")
    with drawing():
        figure = Figure(figsize=(8.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for name, color, marker in zip(scaling[0].contenders, _COLORS, "osD^v", strict=False):
            points = [
                (case.shape[3], ms)
                for case in scaling
                if (ms := case.get(name, "median_ms")) is not None
            ]
            axes.plot(*zip(*points, strict=True), color=color, marker=marker, label=_label(name))
        axes.set(xlabel="number of losses", ylabel="milliseconds, forward + backward")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.grid(axis="y")
        axes.legend(frameon=False)
    spoken = "; ".join(
        f"{line.get_label()}: {number(line.get_ydata()[0])} ms for {line.get_xdata()[0]} losses, "
        f"{number(line.get_ydata()[-1])} ms for {line.get_xdata()[-1]}"
        for line in axes.lines
    )
    figure.set_label(f"Time against the number of losses. {spoken}")
    return figure


_COLORS = (OURS, "#0068a8", "#6b7280", "#7c3aed", "#0f766e")


def _bars(axes: Axes, case: MeasuredCase, measure: str) -> None:
    names = _losses(case)
    ratios = [case.ratio(name, measure=measure) for name in names]
    for place, (name, ratio) in enumerate(zip(names, ratios, strict=True)):
        if ratio is None:
            continue
        ours = name.startswith("lmp_") and name != "lmp_by_sort"
        axes.barh(place, min(ratio, LONGEST), height=0.6, color=OURS if ours else RIVAL)
        cut = "→ " if ratio > LONGEST else ""
        axes.text(min(ratio, LONGEST) + 0.03, place, cut + number(ratio), va="center")
    axes.set_yticks(range(len(names)), [_label(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, LONGEST + 0.35)
    axes.axvline(1, color="#555", linewidth=1)
    axes.grid(axis="x")


def _losses(case: MeasuredCase) -> list[str]:
    return [name for name in LABELS if name in case.contenders and name not in (BASELINE, "clone")]


def _title(case: MeasuredCase) -> str:
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
