"""Pictures of studies: learning curves, and final scores over what a study varies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparing import (
    Condition,
    Record,
    by_p_and_m,
    couples,
    finals,
    gains,
    groups,
    half_width,
    measure,
    named,
    reference,
    sampled,
    score,
)
from benchmarks.drawing import drawing

_COLORS = ("#6b7280", "#0f766e", "#f59e0b", "#c2410c", "#2563eb", "#7c3aed", "#db2777", "#65a30d")
_MARKS = "osD^vPX*"
# Methods that pool, whose lines are drawn thicker.
_OWN = ("lmp", "loss-only")


def picture(content: Mapping[str, Any]) -> Figure:
    """Draw a study: scores over what it varies, or learning curves.

    Args:
        content: Its results.
    """
    if len({record.get("wrong", 0.0) for record in content["records"]}) > 1:
        return _over_wrong_labels(content)
    exponents = {float(record["config"]["loss"]["p"]) for record in content["records"]}
    if len(exponents) > 2 and not content["over"]:
        return _over_p_and_m(content)
    if len({alone.method for alone, _ in couples(groups(content["records"]))}) > 2:
        return _with_sampler(content)
    with drawing():
        if not content["over"]:
            figure = Figure(figsize=(7.2, 3.2), layout="constrained")
            _curves(figure.subplots(), content)
            figure.legend(loc="outside right upper", frameon=False)
            said = "Learning curves of every method, mean over the runs."
        else:
            figure = Figure(figsize=(7.2, 3.3), layout="constrained")
            left, right = figure.subplots(1, 2)
            _curves(left, content)
            _part_gains(right, content)
            figure.legend(loc="outside lower center", ncols=3, frameon=False)
            said = (
                "Left, learning curves, mean over the runs; right, final gain of each part over "
                f"the part {content['over']}: every seed, the mean and its 95 % interval."
            )
    figure.set_label(f"{content['question']} {said}")
    return figure


def _curves(axes: Axes, content: Mapping[str, Any]) -> None:
    """The score of every method over the steps: the mean over the runs that are finished."""
    conditions = groups(content["records"])
    for condition, runs in conditions.items():
        some = next(iter(runs.values()))
        means = [
            fmean(score(run["evaluations"][e], some["classes"]) for run in runs.values())
            for e in range(len(some["evaluations"]))
        ]
        axes.plot(
            [evaluation["step"] for evaluation in some["evaluations"]],
            means,
            color=_color(condition, conditions, content["over"]),
            linewidth=2 if some["method"] in _OWN else 1.1,
            linestyle=_dashes(condition, conditions, content["over"]),
            label=_told(condition, runs, conditions),
        )
    told = measure(content["records"][0])
    told = "IoU of the foreground" if told == "IoU" else told
    axes.set(xlabel="steps", ylabel=f"{told}, %")
    axes.grid(visible=True)


def _color(condition: Condition, conditions: Iterable[Condition], over: str) -> str:
    """The color of a condition: its own, or that of its part where parts are compared."""
    if not over:
        return _COLORS[list(conditions).index(condition) % len(_COLORS)]
    parts = list(dict.fromkeys(each.variant for each in conditions))
    return _COLORS[1 + parts.index(condition.variant) if condition.method in _OWN else 0]


def _dashes(condition: Condition, conditions: Iterable[Condition], over: str) -> str:
    """Broken with the sampler; where methods share the color of their part, without it."""
    if over and len({each.method for each in conditions}) > 1:
        return "-" if sampled(condition.method) else "--"
    return "--" if condition.method.endswith("+") else "-"


def _told(
    condition: Condition, runs: Mapping[int, Record], conditions: Mapping[Condition, Any]
) -> str:
    """The name of a condition in a picture: without its method, where there is one alone."""
    if condition.variant and len({each.method for each in conditions}) == 1:
        return condition.variant
    return f"{named(condition, runs)} {condition.variant}".strip()


def _part_gains(axes: Axes, content: Mapping[str, Any]) -> None:
    """The final gain of every condition over the one that they are compared with."""
    conditions = groups(content["records"])
    names: list[str] = []
    for condition, runs in conditions.items():
        pairs = gains(runs, reference(conditions, condition, content["over"]))
        if not pairs:
            continue
        color = _color(condition, conditions, content["over"])
        _gain(axes, len(names), pairs, content["folds"], color)
        names.append(_told(condition, runs, conditions))
    axes.axvline(0, color="#444", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set(
        xlabel=f"{measure(content['records'][0])} over {content['over']}, points",
        ylim=(len(names) - 0.5, -0.5),
    )
    axes.grid(visible=True, axis="x")


def _gain(axes: Axes, at: float, pairs: Sequence[float], folds: int, color: str) -> None:
    """Draw paired differences in a row: their mean, its 95 % interval, and every seed below."""
    half = half_width(pairs, folds)
    axes.errorbar(
        fmean(pairs), at, xerr=None if math.isnan(half) else half, color=color, marker="D",
        markersize=5, capsize=3,
    )  # fmt: skip
    axes.plot(pairs, [at + 0.18] * len(pairs), "o", color=color, markersize=3.5, alpha=0.6)


def _with_sampler(content: Mapping[str, Any]) -> Figure:
    """The final score of every loss without the sampler and with it, and what it gains."""
    conditions = groups(content["records"])
    told = measure(content["records"][0])
    rows = couples(conditions)
    with drawing():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for at, couple in enumerate(rows):
            color = _COLORS[3 if couple[0].method in (*_OWN, "dice-lmp") else 0]
            ends = [finals(conditions[one]) for one in couple]
            left.plot([fmean(each) for each in ends], [at, at], color=color, linewidth=1)
            for k, each in enumerate(ends):
                name = ("without the sampler", "with the sampler")[k] if at == 0 else None
                fill = ("#fff", color)[k]
                left.plot(fmean(each), at, "D", color=color, markerfacecolor=fill, label=name)
                left.plot(each, [at + 0.2] * len(each), "o", color=color, markerfacecolor=fill,
                          markersize=3.5, alpha=0.6)  # fmt: skip
            pairs = gains(*(conditions[one] for one in reversed(couple)))
            _gain(right, at, pairs, content["folds"], color)
        right.axvline(0, color="#444", linewidth=0.8)
        left.set_yticks(range(len(rows)), [named(one, conditions[one]) for one, _ in rows])
        left.set(xlabel=f"{told}, %", ylim=(len(rows) - 0.5, -0.5))
        right.set(xlabel="the sampler gains, points")
        for axes in (left, right):
            axes.grid(visible=True, axis="x")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.set_label(
        f"{content['question']} Left, final {told} of every loss without the sampler and with it; "
        "right, what the sampler gains: every seed, the mean and its 95 % interval."
    )
    return figure


def _over_wrong_labels(content: Mapping[str, Any]) -> Figure:
    """The final score, and its gain over BASE, over the share of wrong labels."""
    conditions = groups(content["records"])
    told = measure(content["records"][0])
    # By the name of a line, and by the share: the scores of all seeds, and their gains over BASE.
    scores: dict[str, dict[float, list[float]]] = {}
    over_base: dict[str, dict[float, list[float]]] = {}
    for condition, runs in conditions.items():
        some = next(iter(runs.values()))
        name, share = named(condition, runs), 100 * some["wrong"]
        scores.setdefault(name, {})[share] = finals(runs)
        if pairs := gains(runs, reference(conditions, condition, "")):
            over_base.setdefault(name, {})[share] = pairs
    with drawing():
        figure = Figure(figsize=(7.2, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, lines in ((left, scores), (right, over_base)):
            for k, name in enumerate(scores):
                color, mark = _COLORS[k % len(_COLORS)], _MARKS[k % len(_MARKS)]
                label = name if axes is left else None
                _means_and_seeds(axes, lines.get(name, {}), color, mark, label)
        right.axhline(0, color="#444", linewidth=0.8)
        for axes, label in ((left, f"{told}, %"), (right, f"{told} over BASE, points")):
            axes.set(xlabel="wrong labels in training, %", ylabel=label)
            axes.grid(visible=True)
        figure.legend(loc="outside lower center", ncols=min(len(scores), 4), frameon=False)
    figure.set_label(
        f"{content['question']} Final {told} of every method over the share of wrong labels, "
        "and the same over BASE: lines through the means, and every seed."
    )
    return figure


def _means_and_seeds(
    axes: Axes, values: Mapping[float, Sequence[float]], color: str, mark: str, label: str | None
) -> None:
    """Draw a line through the means over the seeds, and every seed."""
    points = sorted(values.items())
    means = [fmean(seeds) for _, seeds in points]
    axes.plot([x for x, _ in points], means, color=color, marker=mark, markersize=5, label=label)
    for x, seeds in points:
        axes.plot([x] * len(seeds), seeds, color=color, marker=mark, linestyle="", markersize=3,
                  alpha=0.5)  # fmt: skip


def _over_p_and_m(content: Mapping[str, Any]) -> Figure:
    """The final score over p and over m, around the setting that both have, beside BASE."""
    conditions = groups(content["records"])
    told = measure(content["records"][0])
    # The scores of all seeds: by p and m of the method that pools, and of the methods without.
    ends = {each: finals(runs) for each, runs in by_p_and_m(conditions, _OWN).items()}
    others = {
        condition.method: finals(runs)
        for condition, runs in conditions.items()
        if condition.method not in _OWN
    }
    p, m = (max(axis, key=axis.count) for axis in map(list, zip(*ends, strict=True)))
    # Where p is inf, or m is n, every pixel weighs the same.
    with_sampler = any(sampled(each.method) for each in conditions if each.method in _OWN)
    mean = others["base+" if with_sampler else "base"]
    over_p = {each: scores for (each, m_there), scores in ends.items() if m_there == m}
    over_m = {each: scores for (p_there, each), scores in ends.items() if p_there == p}
    lines = ({**over_p, math.inf: mean}, {**over_m, 1.0: mean})
    names = (f"p, at m / n = {m:g}", f"m / n, at p = {p:g}")
    with drawing():
        figure = Figure(figsize=(7.2, 2.9), layout="constrained")
        pair = figure.subplots(1, 2, sharey=True, width_ratios=[len(line) for line in lines])
        for axes, line, name in zip(pair, lines, names, strict=True):
            # At equal distances: exponents near 1 would have no room on any scale.
            places = sorted(line)
            at = {places.index(each): scores for each, scores in line.items()}
            _means_and_seeds(axes, at, _COLORS[3], _MARKS[2], None)
            axes.axhline(fmean(others["base"]), color=_COLORS[0], linestyle="--")
            axes.set_xticks(range(len(places)), [f"{each:g}" for each in places])
            axes.set(xlabel=name)
            axes.grid(visible=True)
        pair[0].set_ylabel(f"{told}, %")
        pair[0].annotate("BASE", (0, fmean(others["base"])), xytext=(0, 3),
                         textcoords="offset points", color=_COLORS[0])  # fmt: skip
    figure.set_label(
        f"{content['question']} Final {told} over p and over m: lines through the means, and every "
        "seed; p = inf and m / n = 1 are the mean over the pixels; broken line, BASE."
    )
    return figure
