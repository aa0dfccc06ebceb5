"""The figures of a report: drawn once by matplotlib, for light and dark pages and as a PDF."""

from __future__ import annotations

import functools
import io
import itertools
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import matplotlib
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from lossmaxpool.report.statistics import ECE, Gain, MethodSummary, Summary, pooled_bins
from lossmaxpool.report.wording import MINUS, number, percent, points, share, with_std
from lossmaxpool.runs.record import RunRecord, WeightPoint

# Light and dark. A figure is drawn in the light colors; a style sheet turns them into the dark
# ones, so no two light colors may be the same. The methods have Okabe and Ito's colors, which
# color-blind readers can tell apart, darkened for contrast.
PALETTE = {
    "page": ("#ffffff", "#14171b"),
    "panel": ("#f6f7f9", "#1c2026"),
    "text": ("#1b1f24", "#e4e8ed"),
    "quiet": ("#59626d", "#a0aab5"),
    "rule": ("#d9dee4", "#343b44"),
    "grid": ("#e6e9ed", "#2a3038"),
    "zero": ("#6d7681", "#8b95a1"),
    "tint": ("#eef4fb", "#1b2531"),
    "warn": ("#8a4b00", "#ffc46b"),
    "warn-back": ("#fff5e5", "#2d2413"),
    "m0": ("#0068a8", "#62b6ea"),
    "m1": ("#cc5200", "#ff9142"),
    "m2": ("#00805c", "#35c79a"),
    "m3": ("#a8467e", "#e894c0"),
    "m4": ("#6b5f00", "#d8c940"),
    "m5": ("#414b57", "#c3ccd6"),
}
# One per method of the paper; further ones repeat them with another marker.
METHOD_COLORS = 6
MARKERS = ("o", "o", "s", "^", "D", "v", "P", "X")
# A figure is drawn for a phone and for a screen, because text in a drawing shrinks with it.
NARROW, WIDE = 360, 840
LONGEST_NAME = 18
# A batch's cross-entropy jumps from step to step; means over this many parts of a training show
# its course.
PARTS = 30
# Up to this many values are marked one by one: a single one would draw no line at all.
MARKED = 12
# So many classes have a panel of their weights; the rarest of the rare ones have none.
MULTIPLES = 6
# Above this many classes a confusion matrix has no numbers in its cells and the full width.
NUMBERED = 14
# Parts of a class below this one leave their cell of a confusion matrix blank.
BLANK = 0.005
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif'
_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
_TITLE = "title:"
# Step, mean, lowest and highest value of the seeds.
Spread = tuple[float, float, float, float]


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Args:
        alt: Read aloud in its place.
        svg: One ``<svg>`` element in the light colors, to be put into a page.
    """

    alt: str
    svg: str
    figure: Figure

    @property
    def pdf(self) -> bytes:
        """The same for a paper, in the light colors, with fonts that publishers accept."""
        content = io.BytesIO()
        with matplotlib.rc_context({"pdf.fonttype": 42}):
            self.figure.savefig(content, format="pdf", metadata={"CreationDate": None})
        return content.getvalue()

    @property
    def file(self) -> str:
        """The SVG as a file of its own, which turns dark on dark pages."""
        opening, rest = self.svg.split(">", 1)
        space = f' xmlns="{_SVG}" xmlns:xlink="{_LINK}"'
        return f"{opening}{space}><style>{style_sheet()}</style>{rest}\n"


def style_sheet() -> str:
    """The rules that every drawing needs: how lines end, and the dark colors.

    Without variables and without `light-dark()`, as programs that turn SVG into PDF know neither.
    """
    dark = "".join(
        f'[{what}="{light}"]{{{what}:{night}}}'
        for light, night in PALETTE.values()
        for what in ("fill", "stroke")
    )
    return (
        "svg{color-scheme:light dark}svg *{stroke-linejoin:round;stroke-linecap:butt}"
        f"@media (prefers-color-scheme:dark){{{dark}}}"
    )


def gain_figure(summary: Summary, rival: MethodSummary, width: int, height: int) -> Drawing:
    """One point per class: its share of the training pixels (log scale) and its gain.

    A thin bar spans the seeds. The axes are the same for every rival of a comparison. The classes
    that changed most bear their names; where there are few, all of them.

    References:
        Rota Bulò et al. 2017, Fig. 3.
    """
    gains, index = rival.gains, summary.methods.index(rival)
    assert gains is not None, "a gain figure shows another method than the baseline"
    seen = [c for c in summary.by_share if summary.train_share[c] > 0]
    shown = [c for c in reversed(seen) if gains.iou[c].n]
    heights = [
        100 * value
        for m in summary.rivals
        if m.gains
        for c in seen
        for value in m.gains.iou[c].by_seed.values()
    ]
    low, high = min([0.0, *heights]), max([0.0, *heights])
    room = 0.1 * max(high - low, 1)
    shares = {c: 100 * summary.train_share[c] for c in seen}
    alt = f"Gain of {rival.label} per class, rarest first: " + ", ".join(
        f"{summary.comparison.classes[c]} {points(gains.iou[c].mean)}" for c in shown
    )
    with _canvas(width, height, alt) as (figure, drawn):
        axes = _axes(figure, left=44, right=12, top=26, bottom=46)
        axes.set_xscale("log")
        axes.set_xlim(min(shares.values()) / 1.7, min(100, max(shares.values()) * 1.7))
        axes.set_ylim(low - room, high + room)
        edge = [shares[c] for c in summary.rare] + [min(shares.values())]
        above = [value for c, value in shares.items() if c not in summary.rare]
        middle = math.sqrt(max(edge) * min(above)) if above else max(edge) * 1.7
        axes.axvspan(axes.get_xlim()[0], middle, color=_light("tint"), lw=0)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if width > 500 else (1,)))
        if max(shares.values()) / min(shares.values()) > 1000:
            axes.xaxis.set_major_locator(LogLocator())
        axes.xaxis.set_minor_locator(NullLocator())
        _ticks(axes)
        _title(axes, "gain in IoU points", "share of the training pixels (%)")
        axes.axhline(0, color=_light("zero"), lw=1.2)
        color = _light(f"m{index % METHOD_COLORS}")
        for c in shown:
            gain, name, across = gains.iou[c], summary.comparison.classes[c], shares[c]
            spread = [100 * value for value in gain.by_seed.values()]
            axes.plot([across] * 2, [min(spread), max(spread)], color=color, lw=1.6, alpha=0.65)
            hint = f"{name}: {points(gain.mean)} points, {share(summary.train_share[c])} % of "
            _mark(axes, index, across, 100 * gain.mean, hint + "the training pixels")
        # Of many classes, those that did not change would be a heap of names on the zero line.
        few = len(seen) <= NUMBERED
        named = sorted(
            (c for c in shown if few or gains.iou[c].points), key=lambda c: -abs(gains.iou[c].mean)
        )
        _name(
            axes,
            [
                (shares[c], 100 * gains.iou[c].mean, _short(summary.comparison.classes[c]))
                for c in named[: 14 if width == NARROW else 30]
            ],
            [(shares[c], 100 * value) for c in shown for value in _along(gains.iou[c])],
        )
    return drawn[0]


def _along(gain: Gain) -> list[float]:
    """Values along the bar of a gain, its ends and the mean among them."""
    low, high = min(gain.by_seed.values()), max(gain.by_seed.values())
    return list(dict.fromkeys([gain.mean, low, (low + high) / 2, high]))


def _name(
    axes: Axes, named: Sequence[tuple[float, float, str]], taken: Sequence[tuple[float, float]]
) -> None:
    """Write the names of points beside them, the first ones first, as far as there is room."""
    if not named:
        return
    texts = [axes.text(x, y, name) for x, y, name in named]
    left, right = axes.get_xlim()
    line = [(left * (right / left) ** (part / 20), 0.0) for part in range(21)]
    adjust_text(
        texts,
        *zip(*taken, *line, strict=True),
        target_x=[x for x, _, _ in named],
        target_y=[y for _, y, _ in named],
        ax=axes,
        iter_lim=150,
        expand=(1.15, 1.5),
        force_static=(0.3, 0.5),
    )
    kept: list[Bbox] = []
    for text, (x, y, _) in zip(texts, named, strict=True):
        box = text.get_window_extent()
        if box.count_overlaps(kept):
            text.remove()
            continue
        kept.append(box)
        # A line to the point, where the name had to move away from it.
        dot: tuple[float, float] = tuple(axes.transData.transform((x, y)))
        near = (min(max(dot[0], box.x0), box.x1), min(max(dot[1], box.y0), box.y1))
        if math.dist(dot, near) > 9:
            ends = axes.transData.inverted().transform([near, dot])
            axes.plot(ends[:, 0], ends[:, 1], color=_light("zero"), lw=0.7, zorder=1)


def class_figure(summary: Summary, width: int) -> Drawing:
    """IoU in percent, a row per class by pixel share; small dots are single seeds."""
    rows = [c for c in summary.by_share if c not in summary.folded]
    names = summary.comparison.classes
    alt = "IoU per class in percent. " + "; ".join(
        f"{names[c]}: " + ", ".join(f"{m.label} {with_std(m.iou[c])}" for m in summary.methods)
        for c in rows
    )
    pitch = 27 if len(rows) < 30 else 21
    with _canvas(width, 34 + pitch * len(rows), alt) as (figure, drawn):
        left = 12 + 7.2 * max([len(_short(names[c])) for c in rows], default=0)
        axes = _axes(figure, left=left, right=16, top=8, bottom=26)
        axes.set_xlim(0, 100)
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.set_xticks([0, 20, 40, 60, 80, 100])
        axes.set_yticks(range(len(rows)), [_short(names[c]) for c in rows])
        _ticks(axes, grid="x")
        axes.tick_params("y", labelsize=12, labelcolor=_light("text"))
        for row, c in enumerate(rows):
            if c in summary.rare:
                axes.axhspan(row - 0.5, row + 0.5, color=_light("tint"), lw=0)
            means = [100 * m.iou[c].mean for m in summary.methods if not math.isnan(m.iou[c].mean)]
            if not means:
                axes.text(1, row, "absent", color=_light("quiet"), fontsize=11, va="center")
                continue
            axes.plot([min(means), max(means)], [row] * 2, color=_light("rule"), lw=4)
            # The first method's ring comes last: where marks coincide, the others show inside it.
            for index, m in reversed(list(enumerate(summary.methods))):
                for run in m.method.runs if m.iou[c].n > 1 else ():
                    axes.plot(
                        100 * run.results.iou[c],
                        row,
                        "o",
                        ms=3,
                        mew=0,
                        alpha=0.7,
                        color=_light(f"m{index % METHOD_COLORS}"),
                    )
                if not math.isnan(m.iou[c].mean):
                    hint = f"{m.label}, {names[c]}: {with_std(m.iou[c])}"
                    _mark(axes, index, 100 * m.iou[c].mean, row, hint)
    return drawn[0]


def miou_figure(summary: Summary) -> Drawing:
    """Percent mIoU over training steps."""
    return _curves(
        summary, "mIoU (%)", lambda run: [(e.step, 100 * e.miou) for e in run.evaluations]
    )


def cross_entropy_figure(summary: Summary) -> Drawing:
    """Plain mean cross-entropy of the training batches over steps, averaged in parts."""
    return _curves(
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
            part = min(parts - 1, math.ceil(step * parts / end) - 1)
            binned.setdefault(part, []).append((step, value))
    return [
        (fmean(step for step, _ in members), fmean(value for _, value in members))
        for _, members in sorted(binned.items())
    ]


def over_seeds(curves: Sequence[Sequence[tuple[float, float]]]) -> list[Spread]:
    """Step, mean, lowest and highest value where every curve has a finite one."""
    tables = [{s: value for s, value in curve if math.isfinite(value)} for curve in curves]
    common = sorted(set.intersection(*(set(table) for table in tables)))
    found = ((step, [table[step] for table in tables]) for step in common)
    return [(step, fmean(values), min(values), max(values)) for step, values in found]


def _course(axes: Axes, method: int, label: str, course: Sequence[Spread]) -> None:
    """The mean of a method over the steps, in a band from the lowest seed to the highest."""
    steps, means, lows, highs = zip(*course, strict=True) if course else ((), (), (), ())
    color = _light(f"m{method % METHOD_COLORS}")
    axes.fill_between(steps, lows, highs, color=color, alpha=0.18, lw=0)
    axes.plot(steps, means, color=color, lw=2, gid=f"{_TITLE}{label}")
    for step, mean in zip(steps, means, strict=True) if len(course) <= MARKED else ():
        _mark(axes, method, step, mean)


def _curves(
    summary: Summary, title: str, curve: Callable[[RunRecord], Sequence[tuple[float, float]]]
) -> Drawing:
    curves = [over_seeds([curve(run) for run in m.method.runs]) for m in summary.methods]
    ends = ", ".join(
        f"{m.label} {each[0][1]:.3g} to {each[-1][1]:.3g}"
        for m, each in zip(summary.methods, curves, strict=True)
        if each
    )
    with _canvas(NARROW, 240, f"{title} over training steps: {ends}") as (figure, drawn):
        axes = _axes(figure, left=40, right=14, top=26, bottom=42)
        axes.set_xlim(0, max((at[0] for each in curves for at in each), default=1) * 1.01)
        axes.set_ylim(0, max((at[3] for each in curves for at in each), default=1) * 1.06 or 1)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        _ticks(axes)
        _title(axes, title, "training step")
        for index, each in enumerate(curves):
            _course(axes, index, summary.methods[index].label, each)
    return drawn[0]


def weights_figure(summary: Summary, width: int) -> Drawing:
    """Where the weights of the methods that pool sat, over training steps: a panel per question.

    Threshold, share of the pixels at the cap, effective support, and of the rare classes how much
    more they weigh than in the mean.
    """
    methods = [(index, m) for index, m in enumerate(summary.methods) if m.weights is not None]
    panels: list[tuple[str, Callable[[WeightPoint], float]]] = [
        ("threshold α*", lambda point: point.threshold),
        ("pixels at the cap (%)", lambda point: 100 * point.capped_share),
        ("effective support (%)", lambda point: 100 * point.effective_support),
    ]
    for c in summary.rare[:MULTIPLES]:
        gain = functools.partial(_relative_mass, c)
        panels.append((f"{_short(summary.comparison.classes[c])} ×", gain))
    columns, high = (3 if width == WIDE else 2), 170
    rows = math.ceil(len(panels) / columns)
    last = "; ".join(
        f"{m.label}: {m.weights.capped_share * 100:.1f} % of the pixels at the cap, effective "
        f"support {m.weights.effective_support * 100:.0f} %"
        for _, m in methods
        if m.weights
    )
    with _canvas(width, high * rows, f"The weights over training steps. At the end, {last}") as (
        figure,
        drawn,
    ):
        for k, (title, value) in enumerate(panels):
            axes = _panel(figure, k, rows, columns, left=38, right=8)
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            _ticks(axes)
            _title(axes, title, "training step" if k + columns >= len(panels) else "")
            top = 1.0 if k > 2 else 0.0
            if k > 2:
                axes.axhline(1, color=_light("zero"), lw=1.2)
            for index, m in methods:
                seen = [
                    in_parts([(p.step, value(p)) for p in run.weights], PARTS)
                    for run in m.method.runs
                    if run.weights
                ]
                found = over_seeds(seen)
                top = max([top, *(at[3] for at in found)])
                _course(axes, index, m.label, found)
            axes.set_xlim(left=0)
            axes.set_ylim(0, 1.06 * top or 1)
    return drawn[0]


def _relative_mass(c: int, point: WeightPoint) -> float:
    return point.class_mass[c] / point.class_share[c] if point.class_share[c] else math.nan


def reliability_figure(summary: Summary, width: int) -> Drawing:
    """Accuracy over confidence in percent, a panel per method, summed over the seeds.

    Bars are the share of the pixels in a bin of confidence.

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", Fig. 4.
    """
    shown = [(index, m) for index, m in enumerate(summary.methods) if m.measures[ECE].n]
    columns, high = (3 if width == WIDE else 2), (280 if width == WIDE else 200)
    rows = math.ceil(len(shown) / columns)
    alt = "Accuracy over confidence. Calibration error: "
    alt += ", ".join(f"{m.label} {with_std(m.measures[ECE])} %" for _, m in shown)
    with _canvas(width, high * rows, alt) as (figure, drawn):
        for k, (index, m) in enumerate(shown):
            axes = _panel(figure, k, rows, columns, left=36, right=12)
            axes.set(
                xlim=(0, 100), ylim=(0, 100), xticks=range(0, 101, 25), yticks=range(0, 101, 25)
            )
            _ticks(axes)
            error = f"ECE {with_std(m.measures[ECE])}"
            above = f"{m.label}: {error}" if width == WIDE else _short(m.label)
            _title(axes, above, "confidence (%)" if width == WIDE else error)
            bins = [run.calibration for run in m.method.runs if run.calibration is not None]
            color, width_of_bin = _light(f"m{index % METHOD_COLORS}"), 100 / len(bins[0].pixels)
            spots = {b: [100 * each for each in spot] for b, spot in pooled_bins(bins).items()}
            axes.plot([0, 100], [0, 100], color=_light("zero"), lw=1.2, ls=(0, (4, 3)))
            for b, (sure, right, part) in spots.items():
                hint = f"{part:.1f} % of the pixels: confidence {sure:.1f}, right {right:.1f} %"
                look: dict[str, Any] = {"facecolor": color, "alpha": 0.25, "lw": 0}
                place = (b * width_of_bin, 0)
                axes.add_patch(Rectangle(place, width_of_bin, part, **look, gid=_TITLE + hint))
            across_bins, up, _ = zip(*spots.values(), strict=True)
            axes.plot(across_bins, up, color=color, lw=2)
            for sure, right in zip(across_bins, up, strict=True):
                _mark(axes, index, sure, right)
    return drawn[0]


def confusion_figure(summary: Summary, method: MethodSummary) -> Drawing:
    """Where the pixels of each class went, in percent of the class, summed over the seeds.

    A row per true class and a column per predicted one; the last columns are of classes that were
    predicted and have no pixel.
    """
    matrices = [run.confusion for run in method.method.runs]
    names = summary.comparison.classes
    counts = [
        [sum(m[t][p] for m in matrices) for p in range(len(names))] for t in range(len(names))
    ]
    shown = [c for c in summary.by_share if sum(counts[c])]
    parts = {(t, p): counts[t][p] / sum(counts[t]) for t in shown for p in range(len(names))}
    columns = shown + [
        p
        for p in summary.by_share
        if p not in shown and max((parts[t, p] for t in shown), default=0) >= BLANK
    ]
    alt = f"Confusion matrix of {method.label}. " + "; ".join(
        f"{names[t]}: {percent(parts[t, t])} % right" for t in shown
    )
    few = len(columns) <= NUMBERED
    index = summary.methods.index(method)
    width, margin = (410 if few else WIDE), 12 + 6.6 * max(len(_short(names[c])) for c in columns)
    cell = (width - margin - 24) / len(columns)
    with _canvas(width, margin + 22 + cell * len(shown), alt) as (figure, drawn):
        axes = _axes(figure, left=margin + 18, right=6, top=margin + 18, bottom=4)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        labels = [_short(names[c]) for c in columns]
        axes.xaxis.tick_top()
        axes.set_xticks(range(len(columns)), labels, rotation=90, rotation_mode="anchor", ha="left")
        for text in axes.get_xticklabels():
            text.set_verticalalignment("center")
        axes.set_yticks(range(len(shown)), labels[: len(shown)])
        axes.tick_params(length=0, labelcolor=_light("text"), labelsize=11 if few else 10, pad=4)
        figure.text(
            6 / width, 1 - 14 / figure.bbox.height, "true ↓  predicted →", color=_light("quiet")
        )
        color = _light(f"m{index % METHOD_COLORS}")
        for (row, t), (column, p) in itertools.product(enumerate(shown), enumerate(columns)):
            part = parts[t, p]
            if part >= BLANK:
                patch = Rectangle(
                    (column - 0.5, row - 0.5),
                    1,
                    1,
                    facecolor=to_rgba(color, 0.06 + 0.94 * part),
                    lw=0,
                    gid=f"{_TITLE}{100 * part:.0f} % of {names[t]} predicted as {names[p]}",
                )
                axes.add_patch(patch)
                if few:
                    on = "page" if part > 0.6 else "text"
                    axes.text(
                        column,
                        row,
                        f"{100 * part:.0f}",
                        color=_light(on),
                        ha="center",
                        va="center",
                        fontsize=11,
                    )
        for lines, count, across in (
            (axes.hlines, len(shown), len(columns)),
            (axes.vlines, len(columns), len(shown)),
        ):
            edges = [edge - 0.5 for edge in range(count + 1)]
            lines(edges, -0.5, across - 0.5, color=_light("grid"), lw=0.6, clip_on=False)
    return drawn[0]


def sweep_figure(
    panels: Sequence[tuple[str, Mapping[str, Mapping[float, Sequence[float]]]]],
    levels: Mapping[str, Sequence[float]],
) -> Drawing:
    """Percent mIoU over p and over m, one panel below the other, on one scale.

    The values of a parameter stand at equal distances, in their order: exponents near 1 and
    infinity would have no room on any scale. Bars reach from the lowest seed to the highest.

    Args:
        panels: Name of the parameter, and by the name of a line mIoU of the seeds by its values.
        levels: The same of the methods without that parameter: dashed lines.
    """
    lines = [line for _, each in panels for line in each]
    seeds = [v for _, each in panels for line in each.values() for vs in line.values() for v in vs]
    seeds += [value for values in levels.values() for value in values]
    low, high = 100 * min(seeds), 100 * max(seeds)
    plot, room = 410, 70 + 7.2 * max(map(len, [*lines, *levels]))
    width, height = 44 + plot + room, 330 * len(panels)
    alt = (
        f"mIoU over {' and over '.join(name for name, _ in panels)}: {'; '.join([*lines, *levels])}"
    )
    with _canvas(width, height, alt) as (figure, drawn):
        for row, (name, each) in enumerate(panels):
            top = 330 * row + 30
            axes = _axes(figure, left=44, right=room, top=top, bottom=height - top - 246)
            places = sorted({value for line in each.values() for value in line})
            axes.set_xlim(-0.15, len(places) - 0.85)
            axes.set_ylim(low - 0.08 * (high - low or 1), high + 0.08 * (high - low or 1))
            _ticks(axes, grid="y")
            axes.set_xticks(range(len(places)), [number(value) for value in places])
            _title(axes, "mIoU (%)", name)
            for label, values in levels.items():
                level = 100 * fmean(values)
                axes.axhline(level, color=_light("quiet"), lw=1.6, ls=(0, (4, 3)), label=label)
                ends = [100 * min(values), 100 * max(values)]
                axes.plot([len(places) - 0.88] * 2, ends, color=_light("quiet"), lw=1.6)
            for index, (label, line) in enumerate(each.items()):
                color = _light(f"m{index % METHOD_COLORS}")
                at = [places.index(value) for value in sorted(line)]
                for x, value in zip(at, sorted(line), strict=True):
                    spread = [100 * min(line[value]), 100 * max(line[value])]
                    axes.plot([x] * 2, spread, color=color, lw=1.6, alpha=0.65)
                means = [100 * fmean(line[value]) for value in sorted(line)]
                axes.plot(at, means, label=label, **_marker(index), lw=2, color=color, zorder=3)
            axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    return drawn[0]


@contextmanager
def _canvas(width: float, height: float, alt: str) -> Iterator[tuple[Figure, list[Drawing]]]:
    """A figure of that size in pixels; after the block, the list holds the finished drawing."""
    settings: dict[Any, Any] = {
        "figure.dpi": 72,
        "font.size": 12,
        "text.color": _light("text"),
        "svg.fonttype": "none",
        # Makes ids that no other figure of the page has, and the same ones every time.
        "svg.hashsalt": f"{width:g} {alt}",
        "path.simplify": False,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width / 72, height / 72))
        drawn: list[Drawing] = []
        yield figure, drawn
        svg = io.BytesIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    drawn.append(Drawing(alt, _cleaned(svg.getvalue(), width, height, alt), figure))


def _cleaned(svg: bytes, width: float, height: float, alt: str) -> str:
    """Matplotlib's SVG as one element of a page.

    Colors become attributes, which a style sheet may override; a group that was named by
    `_TITLE` gets that title, which browsers show to a pointer that rests on it.
    """
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _LINK)
    root = ET.fromstring(svg)
    used = set(re.findall(r"#([\w-]+)", svg.decode()))
    for parent in root.iter():
        for child in [c for c in parent if c.tag.rpartition("}")[2] in ("metadata", "style")]:
            parent.remove(child)
        name = parent.get("id", "")
        if name.startswith(_TITLE):
            title = ET.Element(f"{{{_SVG}}}title")
            title.text = name.removeprefix(_TITLE)
            parent.insert(0, title)
        if name not in used:
            parent.attrib.pop("id", None)
        rules = dict(re.findall(r"([\w-]+): *([^;]+)", parent.attrib.pop("style", "")))
        for key in rules.keys() & {"fill", "stroke"}:
            parent.set(key, rules.pop(key))
        if "font" in rules:
            rules["font"] = re.sub(r"px .*", f"px {_FONT}", rules["font"])
        if rules:
            parent.set("style", ";".join(f"{key}:{rule}" for key, rule in sorted(rules.items())))
    root.attrib.clear()
    root.set("viewBox", f"0 0 {width:g} {height:g}")
    root.set("role", "img")
    root.set("aria-label", alt)
    text = ET.tostring(root, encoding="unicode")
    # A page needs no names of namespaces; a file gets them back.
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("\n", "")


def _axes(figure: Figure, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes without a frame, with margins in pixels."""
    width, height = figure.bbox.size
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    )
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _panel(figure: Figure, k: int, rows: int, columns: int, *, left: float, right: float) -> Axes:
    """The k-th of several panels of one size, row by row."""
    row, column = divmod(k, columns)
    width, height = figure.bbox.width / columns, figure.bbox.height / rows
    return _axes(
        figure,
        left=column * width + left,
        right=(columns - 1 - column) * width + right,
        top=row * height + 28,
        bottom=(rows - 1 - row) * height + 44,
    )


def _ticks(axes: Axes, grid: str = "both") -> None:
    plain = FuncFormatter(lambda value, _: f"{value:g}".replace("-", MINUS))
    axes.xaxis.set_major_formatter(plain)
    if grid == "both":
        axes.yaxis.set_major_formatter(plain)
    axes.tick_params(length=0, labelcolor=_light("quiet"), labelsize=11, pad=6)
    axes.grid(axis=grid, color=_light("grid"), lw=1)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def _title(axes: Axes, above: str, below: str) -> None:
    """The names of the axes: above the numbers on the left, and below on the right."""
    height = axes.figure.bbox.height
    place: dict[str, Any] = {"color": _light("quiet"), "fontsize": 12}
    box = axes.get_position()
    axes.figure.text(box.x0, box.y1 + 10 / height, above, **place)
    axes.figure.text(box.x1, box.y0 - 39 / height, below, ha="right", **place)


def _mark(axes: Axes, method: int, x: float, y: float, hint: str | None = None) -> None:
    """The mark of a method."""
    (line,) = axes.plot(x, y, **_marker(method), clip_on=False, zorder=3)
    if hint:
        line.set_gid(_TITLE + hint)


def _marker(method: int) -> dict[str, Any]:
    """The look of a method's mark: its own shape as well as its own color."""
    shape = method % len(MARKERS)
    color, hollow = _light(f"m{method % METHOD_COLORS}"), shape == 0
    return {
        "marker": MARKERS[shape],
        "markersize": 8 if hollow else 9,
        "markerfacecolor": "none" if hollow else color,
        "markeredgecolor": color if hollow else _light("page"),
        "markeredgewidth": 2 if hollow else 1,
    }


def key(method: int) -> Drawing:
    """The mark of a method at the size of a line of text; hidden from screen readers."""
    with _canvas(14, 12, "") as (figure, drawn):
        axes = _axes(figure, left=0, right=0, top=0, bottom=0)
        axes.set_xlim(0, 14)
        axes.set_ylim(0, 12)
        axes.set_axis_off()
        _mark(axes, method, 7, 6)
    return drawn[0]


def _light(name: str) -> str:
    return PALETTE[name][0]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
