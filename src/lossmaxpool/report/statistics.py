"""Means, spreads and paired gains over seeds. Scores are fractions; percent is for printing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from lossmaxpool.rarity import rare_classes
from lossmaxpool.report.comparison import Comparison, Method

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Score:
    """A score over seeds: `std` is the sample standard deviation (ddof = 1), NaN for one run."""

    mean: float
    std: float
    n: int


@dataclass(frozen=True)
class Gain:
    """A paired difference of two methods over the seeds that both ran.

    `low` and `high` bound the 95 % t-interval of the mean; NaN with fewer than two pairs.
    """

    mean: float
    low: float
    high: float
    by_seed: Mapping[int, float]

    @property
    def n(self) -> int:
        return len(self.by_seed)

    @property
    def settled(self) -> bool:
        """Whether the interval excludes zero; never with fewer than two pairs."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Gains:
    """The gains of one method over another; `iou` has one per class."""

    miou: Gain
    pixel_accuracy: Gain
    iou: tuple[Gain, ...]


@dataclass(frozen=True)
class MethodSummary:
    """One method: scores over its seeds, and gains where there is a baseline to compare with."""

    method: Method
    miou: Score
    pixel_accuracy: Score
    iou: tuple[Score, ...]
    gains: Gains | None


@dataclass(frozen=True)
class Summary:
    """Everything that tables, figures and words are made from."""

    comparison: Comparison
    methods: tuple[MethodSummary, ...]
    train_share: tuple[float, ...]
    val_share: tuple[float, ...]

    @property
    def by_share(self) -> tuple[int, ...]:
        """Class indices from the most to the least frequent in training."""
        return tuple(sorted(range(len(self.train_share)), key=lambda c: -self.train_share[c]))

    @property
    def rare(self) -> tuple[int, ...]:
        """The rare classes, rarest last; at least one. Classes without a training pixel are not."""
        present = tuple(c for c in self.by_share if self.train_share[c] > 0)
        return rare_classes(self.train_share)[::-1] or present[-1:]

    @property
    def baseline(self) -> MethodSummary | None:
        return next((m for m in self.methods if m.method is self.comparison.baseline), None)

    @property
    def rivals(self) -> tuple[MethodSummary, ...]:
        """Every method but the baseline."""
        return tuple(m for m in self.methods if m.method is not self.comparison.baseline)

    @property
    def best(self) -> MethodSummary:
        return max(self.methods, key=lambda m: m.miou.mean)


def summarize(comparison: Comparison) -> Summary:
    """Aggregates the finished runs of a comparison over seeds."""
    baseline = comparison.baseline
    return Summary(
        comparison=comparison,
        methods=tuple(_summarize(method, baseline) for method in comparison.methods),
        train_share=_shares(comparison.train_pixels),
        val_share=_shares(comparison.val_pixels),
    )


def gains_over(baseline: Method, method: Method) -> Gains:
    """The paired gains of one method over another."""
    base, own = _by_seed(baseline), _by_seed(method)
    return Gains(
        miou=paired_gain(base.miou, own.miou),
        pixel_accuracy=paired_gain(base.pixel_accuracy, own.pixel_accuracy),
        iou=tuple(paired_gain(b, o) for b, o in zip(base.iou, own.iou, strict=True)),
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

    .. math:: \bar d \pm t_{0.975,\,n-1}\, s_d / \sqrt n

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
    return Gain(spread.mean, spread.mean - half, spread.mean + half, differences)


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The two-sided quantile of Student's t: P(abs(T) <= t) = `confidence`.

    Args:
        degrees: Degrees of freedom, at least 1.
        confidence: In (0, 1).

    Raises:
        ValueError: No degree of freedom, or a confidence outside (0, 1).

    Example:
        >>> round(t_quantile(1), 3), round(t_quantile(9), 3)
        (12.706, 2.262)

    References:
        Abramowitz & Stegun, Eq. 26.7.3 and 26.7.4 (the finite series for integer degrees).
    """
    if degrees < 1:
        raise ValueError(f"degrees is {degrees}: expected at least 1, so give two values or more")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: expected inside (0, 1), such as 0.95")
    # Bisection on the angle atan(t / sqrt(degrees)): bounded even for one degree of freedom.
    low, high = 0.0, math.pi / 2
    while True:
        angle = (low + high) / 2
        if angle in (low, high):
            return math.tan(angle) * math.sqrt(degrees)
        if _central_probability(angle, degrees) < confidence:
            low = angle
        else:
            high = angle


def _central_probability(angle: float, degrees: int) -> float:
    cosine = math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    series = math.sin(angle) * total
    return (angle + series) * 2 / math.pi if odd else series


def _summarize(method: Method, baseline: Method | None) -> MethodSummary:
    own = _by_seed(method)
    return MethodSummary(
        method=method,
        miou=score(list(own.miou.values())),
        pixel_accuracy=score(list(own.pixel_accuracy.values())),
        iou=tuple(score(list(values.values())) for values in own.iou),
        gains=gains_over(baseline, method) if baseline and baseline is not method else None,
    )


@dataclass(frozen=True)
class _BySeed:
    miou: Mapping[int, float]
    pixel_accuracy: Mapping[int, float]
    iou: tuple[Mapping[int, float], ...]


def _by_seed(method: Method) -> _BySeed:
    results = {run.seed: run.results for run in method.runs}
    return _BySeed(
        miou={seed: result.miou for seed, result in results.items()},
        pixel_accuracy={seed: result.pixel_accuracy for seed, result in results.items()},
        iou=tuple(
            {seed: result.iou[c] for seed, result in results.items()}
            for c in range(len(method.runs[0].classes))
        ),
    )


def _shares(pixels: Sequence[int]) -> tuple[float, ...]:
    total = sum(pixels)
    return tuple(count / total if total else math.nan for count in pixels)
