"""Gain per class against its pixel count (Rota Bulò et al. 2017, Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lossmaxpool.report.axes import Scale, count_text, log_ticks, ticks_inside
from lossmaxpool.report.drawing import bottom_axis, canvas, left_axis, text
from lossmaxpool.report.formats import count
from lossmaxpool.report.gain_points import ClassGain, describe, gain_points
from lossmaxpool.report.labels import Box
from lossmaxpool.report.markup import Markup
from lossmaxpool.report.protocol.columns import Scored
from lossmaxpool.report.protocol.pairs import Pair
from lossmaxpool.report.statistics import paired_gain

WIDTH, HEIGHT = 840, 420
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 46, 44
# The colour of max-pooling beside a baseline, as in the other figures.
_METHOD = 1


@dataclass(frozen=True)
class PixelGains:
    """The gains of a method over a baseline.

    Args:
        what: "LMP over BASE+, on camvid val, whole images, 3 seeds".
        of: Which pixels were counted.
        classes: Rarest first.
    """

    what: str
    of: str
    classes: tuple[ClassGain, ...]


def pixel_gains(pair: Pair) -> PixelGains | str:
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
        pixels = run.val_pixels[c]
        if gain.n and pixels:
            words = f"{count_text(pixels)} pixels"
            classes.append(ClassGain(run.classes[c], float(pixels), gain, words))
    if not classes:
        return f"{pair.column.name}: no class has pixels and a score."
    baseline, method = pair.labels
    seeds = count(len(pair.method), "seed")
    return PixelGains(
        f"{method} over {baseline} on {pair.column.name} ({seeds})",
        f"{run.data.name} {task.split}",
        tuple(classes),
    )


def pixel_gain_figure(gains: PixelGains) -> Markup:
    """One point per class: its pixels (log scale) and its gain; a bar spans the seeds."""
    values = [0.0, *(100 * value for each in gains.classes for value in each.gain.by_seed.values())]
    margin = 0.08 * (max(values) - min(values)) or 1.0
    pixels = [each.at for each in gains.classes]
    x = Scale(min(pixels) / 1.6, max(pixels) * 1.9, LEFT, WIDTH - RIGHT, log=True)
    y = Scale(min(values) - margin, max(values) + margin, HEIGHT - BOTTOM, TOP)
    seeds = max(each.gain.n for each in gains.classes)
    spans = "; bars reach from the lowest seed to the highest" if seeds > 1 else ""
    parts = [
        text(LEFT, 16, gains.what, class_="name title"),
        *left_axis(y, ticks_inside(y.low, y.high, 6), LEFT, WIDTH - RIGHT),
        *bottom_axis(x, log_ticks(x.low, x.high), TOP, HEIGHT - BOTTOM, count_text),
        text(LEFT, 36, f"gain in IoU points{spans}", class_="axis"),
        text(WIDTH - RIGHT, HEIGHT - 6, f"pixels of {gains.of}", anchor="end", class_="axis"),
        *gain_points(gains.classes, _METHOD, x, y, Box(LEFT, TOP, WIDTH - 2, HEIGHT - BOTTOM)),
    ]
    return canvas(WIDTH, HEIGHT, describe(gains.what, gains.classes), *parts)


def _by_seed(runs: Sequence[Scored], c: int) -> dict[int, float]:
    """NaN where an evaluation leaves the class out: such a seed does not count."""
    return {each.run.seed: fmean(e.iou[c] for e in each.evaluations) for each in runs}
