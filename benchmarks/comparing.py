"""The runs of a study side by side: by condition, and their paired differences."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

from scipy.optimize import brentq  # type: ignore[import-untyped]
from scipy.stats import nct  # type: ignore[import-untyped]

from lossmaxpool.report.statistics import t_quantile

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


def finals(runs: Mapping[int, Record]) -> list[float]:
    """Return the scores of runs after their last step, in percent."""
    return [score(run["evaluations"][-1], run["classes"]) for run in runs.values()]


def gains(runs: Mapping[int, Record], over: Mapping[int, Record]) -> list[float]:
    """Return the paired differences of the final scores, in points."""
    ends = [
        [score(each[seed]["evaluations"][-1], each[seed]["classes"]) for each in (runs, over)]
        for seed in runs
        if seed in over
    ]
    return [own - other for own, other in ends]


def sampled(method: str) -> bool:
    """Return whether a method has the sampler."""
    return method == "lmp" or method.endswith("+")


def couples(
    conditions: Mapping[Condition, dict[int, Record]],
) -> list[tuple[Condition, Condition]]:
    """Return the conditions without the sampler that are there with it as well, with those."""
    found = []
    for alone in conditions:
        method = "lmp" if alone.method == "loss-only" else f"{alone.method}+"
        if (both := alone._replace(method=method)) in conditions:
            found.append((alone, both))
    return found


def by_p_and_m(
    conditions: Mapping[Condition, dict[int, Record]], methods: Container[str]
) -> dict[tuple[float, float], dict[int, Record]]:
    """Return the runs of some methods by their p and min_support."""
    found = {}
    for condition, runs in conditions.items():
        if condition.method in methods:
            loss = next(iter(runs.values()))["config"]["loss"]
            found[float(loss["p"]), float(loss["min_support"])] = runs
    return found


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
