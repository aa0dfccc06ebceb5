"""Figures 1 to 4 of Rota Bulò et al. 2017, drawn from the operator and from run folders."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
import torch
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lossmaxpool.functional import solve
from lossmaxpool.report.statistics import Gain, paired_gain
from lossmaxpool.report.wording import count
from lossmaxpool.runs.record import Picture, RunRecord
from reproduction.runs import CheckpointWindow, FoundRuns, MethodPair, Scored, columns, find_pair

Points = list[tuple[float, float]]

# Directions of the loss per quadrant.
_DIRECTIONS = 181
# Figure 2's losses; the paper does not say how it generated its own.
NUM_PIXELS = 100
# The paper's number of moments in Figure 4.
MOMENTS = 8
_METHOD = "#c2410c"
_RAMP = mpl.colormaps["plasma"]
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def draw(out: Path, found: FoundRuns | None, window: CheckpointWindow) -> Iterator[str]:
    """Draw every figure that can be drawn.

    Args:
        out: The folder for figure-1 to figure-4, each as SVG and PDF.
        found: Runs for Figures 3 and 4; None leaves them out.
        window: Which evaluations of a run count.

    Yields:
        One line per file and per figure that is missing.
    """
    here, notes = columns(found.runs, window) if found else ([], [])
    out.mkdir(parents=True, exist_ok=True)
    yield from _save(weighting_set_figure(), out / "figure-1")
    yield from _save(weightings_figure(), out / "figure-2")
    if found is None:
        yield "Figures 3 and 4 are missing: give --runs, a folder of finished runs"
        return
    for note in (*found.damaged, *found.unfinished, *notes):
        yield f"left out: {note}"
    for column in here:
        pair = find_pair(column)
        if isinstance(pair, str):
            yield f"Figures 3 and 4 are missing for {pair}"
            continue
        slug = re.sub(r"[^a-z0-9]+", "-", column.name.lower()).strip("-")
        name = f"-{slug}" if len(here) > 1 else ""
        gains = pixel_gains(pair)
        if isinstance(gains, str):
            yield f"Figure 3 is missing for {gains}"
        else:
            yield from _save(pixel_gain_figure(gains), out / f"figure-3{name}")
        strips, missing = evolution_strips(pair)
        if missing:
            yield f"Figure 4, {missing}"
        if strips:
            yield from _save(evolution_figure(strips), out / f"figure-4{name}")
    if not here:
        yield "Figures 3 and 4 are missing: no run is finished"


def _save(figure: Figure, path: Path) -> Iterator[str]:
    for suffix in (".svg", ".pdf"):
        file = path.with_suffix(suffix)
        with mpl.rc_context(_STYLE):
            figure.savefig(file, bbox_inches="tight")
        yield str(file)


# Figure 1: spheres of the p-norm, and the set W in two dimensions.


def weighting_set(p: float, min_support: float) -> Points:
    """The boundary of W for two pixels: every point maximizes some loss.

    Args:
        p: Norm of the weighting set.
        min_support: m / n; up to one half, the norm alone bounds the weights.

    Returns:
        The corners of a closed polygon, counter-clockwise; between two directions of the loss W is
        flat, or flat within a pixel of a drawing.

    Example:
        >>> [(round(x, 2), round(y, 2)) for x, y in weighting_set(math.inf, 0.5)]
        [(0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)]
    """
    angles = torch.linspace(0, math.pi / 2, _DIRECTIONS, dtype=torch.float64)
    losses = torch.stack((angles.cos(), angles.sin()), dim=1).clamp(min=0)
    losses[0, 1] = losses[-1, 0] = 0.0
    quadrant = [(x, y) for x, y in solve(losses, p=p, min_support=min_support).weights.tolist()]
    # The operator takes losses >= 0; W is symmetric under a change of sign.
    turned = [
        *quadrant,
        *((-x, y) for x, y in reversed(quadrant)),
        *((-x, -y) for x, y in quadrant),
        *((x, -y) for x, y in reversed(quadrant)),
    ]
    return [
        point for point, before in zip(turned, [None, *turned], strict=False) if point != before
    ]


def sphere(p: float, norm: float = 1.0) -> Points:
    """The curve ``||w||_p = norm`` in two dimensions: W without a cap, scaled."""
    scale = norm / 2 ** (1 / p - 1)
    return [(scale * x, scale * y) for x, y in weighting_set(p, 0.5)]


def weighting_set_figure(
    p: float = 1.4, cap: float = 0.6, norms: Sequence[float] = (1, 1.4, 2, 4, math.inf)
) -> Figure:
    """Figure 1: ``||w||_p = 1`` for several p; W between its two bounds for n = 2.

    Args:
        p: Norm of W in the second panel.
        cap: tau of the second panel.
        norms: The p of the first panel.
    """
    norm = 2 ** (1 / p - 1)
    ball, region = sphere(p, norm), weighting_set(p, (norm / cap) ** p / 2)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for i, each in enumerate(norms):
            _closed(left, sphere(each), color=_shade(i, len(norms)), label=f"p = {_number(each)}")
        left.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        left.set_title("‖w‖ₚ = 1", loc="left", weight="bold")
        right.fill(*zip(*region, strict=True), color="#fdba74", alpha=0.6)
        _closed(right, ball, color="#555", linestyle="--", linewidth=1)
        _closed(
            right,
            [(cap, cap), (-cap, cap), (-cap, -cap), (cap, -cap)],
            color="#555",
            linestyle=":",
            linewidth=1,
        )
        _closed(right, region, color=_METHOD, linewidth=1.8)
        right.annotate("‖w‖ₚ = γ", (0.02, max(y for _, y in ball) + 0.03))
        right.annotate("$‖w‖_∞ = τ$", (cap + 0.03, cap))
        right.annotate("W", (0.07, 0.1), weight="bold", size=12)
        right.set_title(f"W for n = 2, p = {_number(p)}, τ = {cap:g}", loc="left", weight="bold")
        for axes in (left, right):
            axes.set(xlim=(-1.12, 1.12), ylim=(-1.12, 1.12), aspect="equal")
            axes.set(xlabel="w₁", ylabel="w₂", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
            axes.grid(color="#ddd", linewidth=0.6)
            axes.set_axisbelow(True)
    return figure


# Figure 2: optimal weightings of sorted losses.


def synthetic_losses() -> Tensor:
    """(100,) losses in ascending order: quantiles of an exponential distribution."""
    ranks = (torch.arange(NUM_PIXELS, dtype=torch.float64) + 0.5) / NUM_PIXELS
    return -torch.log1p(-ranks)


def optimal_weights(losses: Tensor, p: float, min_support: float) -> list[float]:
    """w* of losses (N,)."""
    weights: list[float] = solve(losses[None], p=p, min_support=min_support).weights[0].tolist()
    return weights


def weightings_figure(
    norms: Sequence[float] = (1, 1.2, 1.4, 1.7, 2, 3, 4, 10, math.inf),
    supports: Sequence[float] = (0, 0.1, 0.2, 0.4, 0.8, 1),
) -> Figure:
    """Figure 2: w* over the rank of the loss, for several p at m = n/3 and several m at p = 1.7.

    Args:
        norms: The p of the first panel.
        supports: m / n of the second panel; 0 is one pixel, where the norm alone bounds the weight.
    """
    losses = synthetic_losses()
    least = 1 / len(losses)
    by_norm = {f"p = {_number(p)}": optimal_weights(losses, p, 1 / 3) for p in norms}
    by_support = {
        f"m/n = {share:g}": optimal_weights(losses, 1.7, max(share, least)) for share in supports
    }
    panels = {"m = n/3, p varies": by_norm, "p = 1.7, m varies": by_support}
    ranks = range(1, len(losses) + 1)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 4.6), layout="constrained")
        rows = figure.subplots(2, 2, sharex=True, height_ratios=(4, 1))
        for (title, curves), above, below in zip(panels.items(), *rows, strict=True):
            for i, (label, curve) in enumerate(curves.items()):
                above.plot(ranks, curve, color=_shade(i, len(curves)), label=label)
            above.set_title(title, loc="left", weight="bold")
            above.set(ylabel="weight w*", ylim=(0, None))
            above.legend(frameon=False, loc="upper left", fontsize=8)
            below.fill_between(ranks, losses.tolist(), color="#bbb")
            below.set(ylabel="loss", xlabel="pixels, in the order of their loss", ylim=(0, None))
    return figure


# Figure 3: the gain of a class against its pixels.


@dataclass(frozen=True)
class ClassGain:
    """The gain of one class and how many validation pixels it has."""

    name: str
    pixels: int
    gain: Gain


@dataclass(frozen=True)
class PixelGains:
    """The gains of a method over a baseline.

    Args:
        what: "LMP over BASE+ on camvid val, whole images (3 seeds)".
        of: Which pixels were counted.
        classes: Rarest first.
    """

    what: str
    of: str
    classes: tuple[ClassGain, ...]


def pixel_gains(pair: MethodPair) -> PixelGains | str:
    """The gain of every class that has pixels and a score; otherwise why there is none."""
    run, task = pair.column.first, pair.column.task
    if task.split != run.data.val_split:
        return (
            f"{pair.column.name}: the pixels of the classes are known of {run.data.val_split} "
            f"alone, not of {task.split}."
        )
    classes = []
    for c in sorted(range(len(run.classes)), key=lambda c: run.val_pixels[c]):
        gain = paired_gain(_by_seed(pair.baseline, c), _by_seed(pair.method, c))
        if gain.n and run.val_pixels[c]:
            classes.append(ClassGain(run.classes[c], run.val_pixels[c], gain))
    if not classes:
        return f"{pair.column.name}: no class has pixels and a score."
    baseline, method = pair.labels
    seeds = count(len(pair.method), "seed")
    what = f"{method} over {baseline} on {pair.column.name} ({seeds})"
    return PixelGains(what, f"{run.data_name} {task.split}", tuple(classes))


def pixel_gain_figure(gains: PixelGains) -> Figure:
    """One point per class: its pixels (log scale) and its gain; a bar spans the seeds."""
    seeds = max(each.gain.n for each in gains.classes)
    spans = "; bars from the lowest seed to the highest" if seeds > 1 else ""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 4.2), layout="constrained")
        axes = figure.subplots()
        names = []
        for each in gains.classes:
            values = [100 * value for value in each.gain.by_seed.values()]
            mean = 100 * each.gain.mean
            axes.vlines(each.pixels, min(values), max(values), color=_METHOD, alpha=0.5)
            axes.plot(each.pixels, mean, "o", color=_METHOD, markersize=5)
            names.append(axes.text(each.pixels, mean, each.name))
        axes.axhline(0, color="#555", linewidth=1)
        axes.set_xscale("log")
        axes.set_title(gains.what, loc="left", weight="bold")
        axes.set(xlabel=f"pixels of {gains.of}", ylabel=f"gain in IoU points{spans}")
        axes.margins(0.08, 0.1)
        arrow = {"arrowstyle": "-", "color": "#999", "linewidth": 0.6}
        adjust_text(names, ax=axes, arrowprops=arrow, expand=(1.2, 1.5), time_lim=2)
    return figure


def _by_seed(runs: Sequence[Scored], c: int) -> dict[int, float]:
    """NaN where an evaluation leaves the class out: such a seed does not count."""
    return {each.run.seed: fmean(e.iou[c] for e in each.evaluations) for each in runs}


# Figure 4: the segmentation of fixed images in the course of training.


@dataclass(frozen=True)
class EvolutionStrip:
    """One image and the predictions of two methods.

    Args:
        name: Of the image.
        image: Its picture.
        truth: Its labels.
        rows: Per method its label, and its prediction by step.
    """

    name: str
    image: Path
    truth: Path
    rows: tuple[tuple[str, Mapping[int, Path]], ...]


def evolution_strips(pair: MethodPair) -> tuple[list[EvolutionStrip], str]:
    """Strips of the first common seed, and a sentence on what is missing from the paper's figure.

    Args:
        pair: Whose run folders may hold pictures.

    Returns:
        Strips of fixed training images where the records have an ``evolution``; else of the
        examples, validation images at the end of training alone; none where there are neither.
    """
    runs = (pair.baseline[0].run, pair.method[0].run)
    where = f"{pair.column.name}, seed {runs[0].seed}"
    if all(run.evolution for run in runs):
        return _strips([(run, run.evolution) for run in runs]), ""
    strips = _strips([(run, _at_the_end(run)) for run in runs])
    if not strips:
        return [], f"{where}: the run folders hold no pictures of the same image."
    return strips, (
        f"{where}: the run folders hold validation images at the end of training alone; the "
        "training images and the earlier moments of the paper's figure are missing."
    )


def evolution_figure(strips: Sequence[EvolutionStrip]) -> Figure:
    """Two rows per image: left the image over its truth, then one column per step.

    Args:
        strips: At least one.

    Raises:
        ValueError: There is none.
    """
    if not strips:
        raise ValueError("strips is empty: expected the pictures of at least one image")
    every = sorted({step for strip in strips for _, row in strip.rows for step in row})
    steps = [every[(k + 1) * len(every) // MOMENTS - 1] for k in range(MOMENTS)]
    steps = every if len(every) <= MOMENTS else steps
    with mpl.rc_context(_STYLE):
        size = (1.5 * (1 + len(steps)), 2.6 * len(strips))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(2 * len(strips), 1 + len(steps), squeeze=False)
        for i, strip in enumerate(strips):
            lefts = (("image", strip.image), ("truth", strip.truth))
            for row, (kind, left), (label, shown) in zip(
                grid[2 * i : 2 * i + 2], lefts, strip.rows, strict=True
            ):
                heading = f"{strip.name}\n{kind}" if kind == "image" else kind
                _show(row[0], left, heading)
                for axes, step in zip(row[1:], steps, strict=True):
                    _show(axes, shown.get(step), f"{label}\n{step:,} steps")
    return figure


def _strips(methods: Sequence[tuple[RunRecord, Sequence[Picture]]]) -> list[EvolutionStrip]:
    common = set.intersection(*({one.name for one in shots} for _, shots in methods))
    return [
        EvolutionStrip(
            name,
            methods[0][0].folder / shown.image,
            methods[0][0].folder / shown.truth,
            tuple(
                (
                    run.label,
                    {
                        one.step: run.folder / one.prediction
                        for one in shots
                        if one.name == name and one.step is not None
                    },
                )
                for run, shots in methods
            ),
        )
        for name, shown in {one.name: one for one in methods[0][1]}.items()
        if name in common
    ]


def _at_the_end(run: RunRecord) -> list[Picture]:
    return [replace(one, step=run.results.step) for one in run.examples]


def _show(axes: Axes, path: Path | None, title: str) -> None:
    """The picture; if it cannot be read, the reason in its place."""
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()
    words = "not recorded"
    if path is not None:
        try:
            axes.imshow(mpl.image.imread(path))
            return
        except (OSError, SyntaxError, ValueError):
            words = f"{path.name} is\nmissing or no PNG"
    axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=7, transform=axes.transAxes)


def _closed(axes: Axes, points: Points, **style: Any) -> None:
    axes.plot(*zip(*points, points[0], strict=True), **style)


def _shade(index: int, of: int) -> tuple[float, float, float, float]:
    """The color of curve ``index`` of ``of``; the palest end of the ramp is left out."""
    shade: tuple[float, float, float, float] = _RAMP(0.88 * index / max(1, of - 1))
    return shade


def _number(p: float) -> str:
    return "∞" if math.isinf(p) else f"{p:g}"
