"""The runs of a study side by side: by condition, their paired differences, pictures of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import brentq  # type: ignore[import-untyped]
from scipy.stats import nct  # type: ignore[import-untyped]

from benchmarks.drawing import drawing
from lossmaxpool.report.statistics import t_quantile

_COLORS = ("#6b7280", "#0f766e", "#f59e0b", "#c2410c", "#2563eb", "#7c3aed", "#db2777", "#65a30d")
_MARKS = "osD^vPX*"
# Methods that pool, whose lines are drawn thicker.
_OWN = ("lmp", "loss-only")
Record = dict[str, Any]


class Condition(NamedTuple):
    """Common to runs that differ in their seed alone; ``setting`` has the p and m that vary."""

    variant: str
    method: str
    setting: str = ""


def score(evaluation: Mapping[str, Any], classes: Sequence[str]) -> float:
    """Return the mean IoU over the classes but the background, in percent."""
    values = evaluation["iou"][1 if classes[0] == "background" else 0 :]
    return 100 * fmean(value for value in values if value is not None)


def f1(evaluation: Mapping[str, Any], classes: Sequence[str]) -> float:
    """Return the mean F1 over the same classes: 2 IoU / (1 + IoU)."""
    values = evaluation["iou"][1 if classes[0] == "background" else 0 :]
    return 100 * fmean(2 * value / (1 + value) for value in values if value is not None)


def half_width(differences: Sequence[float], folds: int) -> float:
    """Return half the 95 % interval of a mean of paired differences, NaN for a single one."""
    n = len(differences)
    if n < 2:
        return math.nan
    return t_quantile(n - 1) * _error_of_mean(stdev(differences), n, folds)


def _error_of_mean(spread: float, n: int, folds: int) -> float:
    """Return the standard error of the mean of n differences of this standard deviation.

    Folds share most of their training images, so that their differences are not independent: the
    variance of the mean is then taken as (1 / n + 1 / (folds - 1)) of that of a difference.

    References:
        Nadeau and Bengio 2003, "Inference for the generalization error", Eq. 12.
    """
    return spread * math.sqrt(1 / n + (1 / (folds - 1) if folds else 0.0))


def groups(records: Sequence[Record]) -> dict[Condition, dict[int, Record]]:
    """Return the records by condition, each by its seed."""
    found: dict[Condition, dict[int, Record]] = {}
    for record in records:
        variant, loss = record.get("variant", ""), record["config"]["loss"]
        alike = [
            other["config"]["loss"]
            for other in records
            if (other.get("variant", ""), other["method"]) == (variant, record["method"])
        ]
        setting = ", ".join(
            f"{name} {float(loss[key]):g}"
            for key, name in (("p", "p"), ("min_support", "m / n"))
            if len({other[key] for other in alike}) > 1
        )
        found.setdefault(Condition(variant, record["method"], setting), {})[record["seed"]] = record
    return found


def reference(
    conditions: Mapping[Condition, dict[int, Record]], condition: Condition, over: str
) -> Mapping[int, Record]:
    """Return the runs to compare with: BASE of the variant, or the same method in ``over``.

    Empty for the condition that the others are compared with.
    """
    if over:
        return (
            {}
            if condition.variant == over
            else conditions.get(condition._replace(variant=over), {})
        )
    if condition.method == "base":
        return {}
    return (
        conditions.get(Condition(condition.variant, "base"))
        or conditions.get(Condition("", "base"))
        or {}
    )


def gains(runs: Mapping[int, Record], over: Mapping[int, Record]) -> list[float]:
    """Return the paired differences of the final scores, in points."""
    ends = [
        [score(each[seed]["evaluations"][-1], each[seed]["classes"]) for each in (runs, over)]
        for seed in runs
        if seed in over
    ]
    return [own - other for own, other in ends]


def measure(record: Record) -> str:
    """Return the name of the score of a run."""
    return "IoU" if record["classes"][0] == "background" else "mIoU"


def named(condition: Condition, runs: Mapping[int, Record]) -> str:
    """Return the name of the method of a condition, with the p and m that vary."""
    label = str(next(iter(runs.values()))["label"])
    return ", ".join(filter(None, [label, condition.setting]))


def seeds_needed(spread: float, gain: float = 2.0, power: float = 0.8) -> int:
    """Return how many paired runs settle a gain with this probability.

    A paired t-test at 5 %, two-sided, on differences of this standard deviation.

    Example:
        >>> seeds_needed(0.9), seeds_needed(1.5)
        (4, 7)
    """
    for n in range(2, 1000):
        beyond = nct.sf(t_quantile(n - 1), n - 1, gain / spread * math.sqrt(n))
        if beyond >= power:
            return n
    raise ValueError(f"a spread of {spread} needs more than 1000 runs to settle {gain}")


def settled_gain(spread: float, n: int, folds: int, power: float = 0.8) -> float:
    """Return the smallest true gain that n paired differences settle with this probability.

    The test is that of ``seeds_needed``, with the wider error of folds.

    Example:
        >>> round(settled_gain(1.0, 5, folds=0), 1), round(settled_gain(1.0, 5, folds=5), 1)
        (1.7, 2.5)
    """
    beyond = t_quantile(n - 1)
    shift = brentq(lambda by: nct.sf(beyond, n - 1, by) - power, 0, 100)
    return float(shift) * _error_of_mean(spread, n, folds)


def picture(content: Mapping[str, Any]) -> Figure:
    """Draw a study: scores over the share of wrong labels or over p, or learning curves.

    Args:
        content: Its results.
    """
    if len({record.get("wrong", 0.0) for record in content["records"]}) > 1:
        return _over_wrong_labels(content)
    exponents = {float(record["config"]["loss"]["p"]) for record in content["records"]}
    if len(exponents) > 2 and not content.get("over"):
        return _over_p(content)
    with drawing():
        if not content.get("over"):
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
            color=_color(condition, conditions, content.get("over", "")),
            linewidth=2 if some["method"] in _OWN else 1.1,
            linestyle=_dashes(condition, conditions, content.get("over", "")),
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
    sampled = condition.method == "lmp" or condition.method.endswith("+")
    if over and len({each.method for each in conditions}) > 1:
        return "-" if sampled else "--"
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
        at, color = len(names), _color(condition, conditions, content["over"])
        half = half_width(pairs, content["folds"])
        axes.errorbar(
            fmean(pairs), at, xerr=None if math.isnan(half) else half, color=color, marker="D",
            markersize=5, capsize=3,
        )  # fmt: skip
        axes.plot(pairs, [at + 0.18] * len(pairs), "o", color=color, markersize=3.5, alpha=0.6)
        names.append(_told(condition, runs, conditions))
    axes.axvline(0, color="#444", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set(
        xlabel=f"{measure(content['records'][0])} over {content['over']}, points",
        ylim=(len(names) - 0.5, -0.5),
    )
    axes.grid(visible=True, axis="x")


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
        scores.setdefault(name, {})[share] = [
            score(run["evaluations"][-1], some["classes"]) for run in runs.values()
        ]
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


def _over_p(content: Mapping[str, Any]) -> Figure:
    """The final score over p, one line per m, beside the methods that have neither."""
    conditions = groups(content["records"])
    told = measure(content["records"][0])
    # By the name of a line: the scores of all seeds by p; the methods without p have one level.
    lines: dict[str, dict[float, list[float]]] = {}
    levels: dict[str, list[float]] = {}
    for condition, runs in conditions.items():
        some = next(iter(runs.values()))
        ends = [score(run["evaluations"][-1], some["classes"]) for run in runs.values()]
        loss, name = some["config"]["loss"], str(some["label"])
        if condition.setting:
            name = f"{name}, m / n {float(loss['min_support']):g}"
            lines.setdefault(name, {})[float(loss["p"])] = ends
        else:
            levels[name] = ends
    # At equal distances: exponents near 1 would have no room on any scale.
    places = sorted({p for line in lines.values() for p in line})
    with drawing():
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.subplots()
        for k, (name, ends) in enumerate(levels.items()):
            axes.axhline(fmean(ends), color=_COLORS[0], linestyle=("--", ":")[k % 2], label=name)
        for k, (name, line) in enumerate(lines.items()):
            at = {places.index(p) + 0.06 * (k - 1): values for p, values in line.items()}
            _means_and_seeds(axes, at, _COLORS[1 + k], _MARKS[k], name)
        axes.set_xticks(range(len(places)), [f"{p:g}" for p in places])
        axes.set(xlabel="p", ylabel=f"{told}, %")
        axes.grid(visible=True)
        figure.legend(loc="outside right upper", frameon=False)
    figure.set_label(
        f"{content['question']} Final {told} over p, a line for each m: through the means, and "
        f"every seed; broken lines, {' and '.join(levels)}."
    )
    return figure
