"""Means, spreads and paired gains over seeds. Scores are fractions; percent is for printing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Generic, TypeVar

import torch
from scipy.special import stdtrit  # type: ignore[import-untyped]

from lossmaxpool.classes import rare_classes
from lossmaxpool.metrics import ConfusionMatrix
from lossmaxpool.report.comparison import Comparison, MethodRuns
from lossmaxpool.runs.record import CalibrationBins, RunRecord, WeightPoint

CONFIDENCE = 0.95
# The measure of which less is better.
ECE = "ECE"
CLASS_SCORES = ("IoU", "F1", "precision", "recall")
# Names of the background in binary tasks; a second class of another name is the foreground.
BACKGROUND = frozenset({"background", "bg", "other", "others", "rest", "none", "negative", "void"})
# Fewer unchanged classes than this are shown like all others.
FOLD = 6
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Score:
    """A score over seeds: `std` is the sample standard deviation (ddof = 1), NaN for one run."""

    mean: float
    std: float
    n: int


@dataclass(frozen=True)
class Gain:
    """A paired difference of two methods over the seeds that both ran.

    `low` and `high` bound the 95 % t-interval of the mean; NaN with fewer than two pairs. `base` is
    the mean score of the other method over these seeds.
    """

    mean: float
    low: float
    high: float
    by_seed: Mapping[int, float]
    base: float

    @property
    def n(self) -> int:
        return len(self.by_seed)

    @property
    def settled(self) -> bool:
        """Whether the interval excludes zero; never with fewer than two pairs."""
        return self.low > 0 or self.high < 0

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval within what is possible: a score stays between 0 and 1."""
        return max(self.low, -self.base), min(self.high, 1 - self.base)

    @property
    def points(self) -> float:
        """The mean in points, to the decimal that is printed; NaN without a common seed."""
        return round(100 * self.mean, 1)


class _Measures(Generic[_Value]):
    """Values by the name of their measure, the first of which ranks the methods."""

    measures: Mapping[str, _Value]

    @property
    def lead(self) -> _Value:
        return next(iter(self.measures.values()))


@dataclass(frozen=True)
class Gains(_Measures[Gain]):
    """The gains of one method over another: of every measure by its name, and of every class."""

    measures: Mapping[str, Gain]
    iou: tuple[Gain, ...]


@dataclass(frozen=True)
class MethodSummary(_Measures[Score]):
    """One method: scores over its seeds, and gains where there is a baseline to compare with.

    `measures` are over all classes, `classes` has the scores of each class by the score's name;
    `weights` says where those of its loss sat in the last third of the looks, if it pools.
    """

    method: MethodRuns
    measures: Mapping[str, Score]
    classes: Mapping[str, tuple[Score, ...]]
    gains: Gains | None
    weights: WeightPoint | None = None

    @property
    def label(self) -> str:
        return self.method.label

    @property
    def iou(self) -> tuple[Score, ...]:
        return self.classes["IoU"]


@dataclass(frozen=True)
class Pair:
    """A method and its gains over another."""

    method: MethodSummary
    other: MethodSummary
    gains: Gains

    def classes(self, sign: int) -> int:
        """How many classes gained (1) or lost (-1), to the decimal that is printed."""
        return sum(1 for gain in self.gains.iou if sign * gain.points > 0)


@dataclass(frozen=True)
class Summary:
    """Everything that tables, figures and words are made from."""

    comparison: Comparison
    methods: tuple[MethodSummary, ...]
    train_share: tuple[float, ...]
    val_share: tuple[float, ...]

    @property
    def data_name(self) -> str:
        """The name of the data set; that of its folder where it is read from folders."""
        return self.comparison.runs[0].data_name

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures; the first one leads."""
        return tuple(self.methods[0].measures)

    @property
    def lead(self) -> str:
        return self.measures[0]

    @cached_property
    def by_share(self) -> tuple[int, ...]:
        """Class indices from the most to the least frequent in training."""
        return tuple(sorted(range(len(self.train_share)), key=lambda c: -self.train_share[c]))

    @cached_property
    def rare(self) -> tuple[int, ...]:
        """The rare classes, rarest last; at least one. Classes without a training pixel are not."""
        present = tuple(c for c in self.by_share if self.train_share[c] > 0)
        return rare_classes(self.train_share)[::-1] or present[-1:]

    @cached_property
    def folded(self) -> frozenset[int]:
        """The classes on which all methods agree to the printed decimal, where there are many."""
        alike = frozenset(c for c in self.by_share if len(self.methods) > 1 and self._alike(c))
        return alike if len(alike) >= FOLD else frozenset()

    def _alike(self, c: int) -> bool:
        gains = [m.gains.iou[c] for m in self.methods if m.gains]
        means = {f"{100 * m.iou[c].mean:.1f}" for m in self.methods}
        return len(means) == 1 and not any(gain.points for gain in gains if gain.n)

    @property
    def baseline(self) -> MethodSummary | None:
        return next((m for m in self.methods if m.method is self.comparison.baseline), None)

    @property
    def rivals(self) -> tuple[MethodSummary, ...]:
        """Every method but the baseline."""
        return tuple(m for m in self.methods if m.method is not self.comparison.baseline)

    @property
    def best(self) -> MethodSummary:
        return max(self.methods, key=lambda m: m.lead.mean)

    @property
    def pairs(self) -> list[Pair]:
        """Each two methods with a common seed once: the one of the higher mean over the other."""
        ranked = sorted(self.methods, key=lambda m: -m.lead.mean)
        return [pair for i, one in enumerate(ranked) for pair in self.over(one, ranked[i + 1 :])]

    @property
    def further_pairs(self) -> list[Pair]:
        """The pairs where they say more than the gains over the baseline do; otherwise none."""
        return self.pairs if len(self.methods) > 2 or self.baseline is None else []

    def over(self, method: MethodSummary, others: Sequence[MethodSummary]) -> list[Pair]:
        """One method over each of the others with a common seed."""
        names = self.measures
        found = [Pair(method, o, gains_over(o.method, method.method, names)) for o in others]
        return [pair for pair in found if pair.gains.lead.n]


def summarize(comparison: Comparison) -> Summary:
    """Aggregates the finished runs of a comparison over seeds."""
    baseline = comparison.baseline
    scores = {run.folder: class_scores(run) for m in comparison.methods for run in m.runs}
    finished = (run for m in comparison.methods for run in m.runs)
    names = tuple(dict.fromkeys(name for run in finished for name in measures(run)))
    return Summary(
        comparison=comparison,
        methods=tuple(
            MethodSummary(
                method,
                {name: score(list(_by_seed(method, name).values())) for name in names},
                {
                    name: tuple(
                        score([scores[run.folder][name][c] for run in method.runs])
                        for c in range(len(comparison.classes))
                    )
                    for name in CLASS_SCORES
                },
                gains_over(baseline, method, names)
                if baseline and baseline is not method
                else None,
                late_weights(method.runs),
            )
            for method in comparison.methods
        ),
        train_share=_shares(comparison.train_pixels),
        val_share=_shares(comparison.val_pixels),
    )


def measures(run: RunRecord) -> dict[str, float]:
    """The measures of a finished run over all classes, the leading one first.

    Of two classes the foreground leads: its IoU, F1, precision and recall. The calibration error
    comes last, where the run's record has it.
    """
    result = run.results
    overall = {"mIoU": result.miou, "pixel accuracy": result.pixel_accuracy}
    if run.calibration is not None:
        overall[ECE] = run.calibration.ece
    if len(run.classes) != 2:
        return overall
    c = 0 if run.classes[1].lower() in BACKGROUND else 1
    own = {f"{run.classes[c]} {name}": values[c] for name, values in class_scores(run).items()}
    return own | overall


def class_scores(run: RunRecord) -> dict[str, list[float]]:
    """The scores of every class in a finished run by their name, NaN where one is undefined.

    They are those of its confusion matrix; F1 is the Dice coefficient.
    """
    matrix = ConfusionMatrix.from_counts(torch.tensor(run.confusion))
    return {
        "IoU": list(run.results.iou),
        "F1": matrix.dice().tolist(),
        "precision": matrix.precision().tolist(),
        "recall": matrix.recall().tolist(),
    }


def late_weights(runs: Sequence[RunRecord]) -> WeightPoint | None:
    """The mean of the last third of the looks of all runs at their weights; None without any."""
    late = [point for run in runs for point in run.weights[len(run.weights) * 2 // 3 :]]
    if not late:
        return None
    by_class = {
        key: [fmean(values) for values in zip(*(getattr(p, key) for p in late), strict=True)]
        for key in ("class_mass", "class_share")
    }
    return WeightPoint(
        step=late[-1].step,
        threshold=fmean(p.threshold for p in late),
        capped_share=fmean(p.capped_share for p in late),
        effective_support=fmean(p.effective_support for p in late),
        **by_class,
    )


def pooled_bins(runs: Sequence[CalibrationBins]) -> dict[int, tuple[float, float, float]]:
    """Confidence, accuracy and share of the pixels of all runs, by the bins that hold any."""
    total = sum(sum(run.pixels) for run in runs)
    found = {}
    for b in range(len(runs[0].pixels)):
        inside = [run for run in runs if run.pixels[b]]
        if pixels := sum(run.pixels[b] for run in inside):
            sure = math.fsum(run.confidence[b] * run.pixels[b] for run in inside) / pixels
            right = math.fsum(run.accuracy[b] * run.pixels[b] for run in inside) / pixels
            found[b] = (sure, right, pixels / total)
    return found


def gains_over(baseline: MethodRuns, method: MethodRuns, names: Sequence[str]) -> Gains:
    """The paired gains of one method over another."""
    base, own = ({run.seed: run.results.iou for run in m.runs} for m in (baseline, method))
    return Gains(
        {name: paired_gain(_by_seed(baseline, name), _by_seed(method, name)) for name in names},
        tuple(
            paired_gain(
                {seed: iou[c] for seed, iou in base.items()},
                {seed: iou[c] for seed, iou in own.items()},
            )
            for c in range(len(method.runs[0].classes))
        ),
    )


def score(values: Sequence[float]) -> Score:
    """Mean and sample standard deviation of the values that are not NaN.

    Example:
        >>> score([0.25, 0.5, 0.75])
        Score(mean=0.5, std=0.25, n=3)
    """
    present = [value for value in values if not math.isnan(value)]
    return Score(
        mean=fmean(present) if present else math.nan,
        std=stdev(present) if len(present) > 1 else math.nan,
        n=len(present),
    )


def paired_gain(baseline: Mapping[int, float], method: Mapping[int, float]) -> Gain:
    r"""Mean difference over common seeds with its paired t-interval.

    .. math:: \bar d \pm t_{0.975,\,n-1}\, s_d / \sqrt{n}

    Args:
        baseline: Score by seed.
        method: Score by seed; only seeds in both, with neither score NaN, count.

    Returns:
        The gain; NaN throughout where no seed is common.
    """
    differences = {
        seed: method[seed] - baseline[seed]
        for seed in sorted(method.keys() & baseline.keys())
        if not math.isnan(method[seed] - baseline[seed])
    }
    spread = score(list(differences.values()))
    half = t_quantile(spread.n - 1) * spread.std / math.sqrt(spread.n) if spread.n > 1 else math.nan
    base = score([baseline[seed] for seed in differences]).mean
    return Gain(spread.mean, spread.mean - half, spread.mean + half, differences, base)


def t_quantile(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t.

    Example:
        >>> round(t_quantile(1), 3), round(t_quantile(9), 3)
        (12.706, 2.262)
    """
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def _by_seed(method: MethodRuns, name: str) -> dict[int, float]:
    return {run.seed: measures(run).get(name, math.nan) for run in method.runs}


def _shares(pixels: Sequence[int]) -> tuple[float, ...]:
    total = sum(pixels)
    return tuple(count / total if total else math.nan for count in pixels)
