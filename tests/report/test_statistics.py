from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lossmaxpool.report.comparison import read_runs
from lossmaxpool.report.statistics import paired_gain, score, summarize, t_quantile
from tests.tolerances import QUANTILE

from .conftest import TRAIN_PIXELS, many_classes

MakeRuns = Callable[..., list[Path]]


@pytest.mark.parametrize("degrees", [*range(1, 12), 30, 99])
def test_t_quantile_agrees_with_scipy(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=QUANTILE)


def test_score_is_mean_and_sample_deviation() -> None:
    values = [0.31, 0.35, 0.29, 0.40]
    assert score(values).mean == pytest.approx(np.mean(values))
    assert score(values).std == pytest.approx(np.std(values, ddof=1))
    assert math.isnan(score([0.3]).std)
    assert score([math.nan, 0.3]).n == 1
    assert math.isnan(score([math.nan]).mean)


def test_gain_agrees_with_the_paired_t_test() -> None:
    base = {0: 0.41, 1: 0.44, 2: 0.39, 3: 0.42}
    method = {0: 0.45, 1: 0.47, 2: 0.45, 3: 0.43}
    gain = paired_gain(base, method)
    interval = stats.ttest_rel(list(method.values()), list(base.values())).confidence_interval(0.95)
    assert gain.mean == pytest.approx(0.035)
    assert (gain.low, gain.high) == pytest.approx((interval.low, interval.high))
    assert gain.settled == (interval.low > 0)


def test_only_common_seeds_are_paired() -> None:
    gain = paired_gain({0: 0.4, 1: 0.5, 7: 0.1}, {1: 0.6, 0: 0.3, 9: 0.9})
    assert gain.by_seed == pytest.approx({0: -0.1, 1: 0.1})


def test_one_pair_has_no_interval_and_settles_nothing() -> None:
    gain = paired_gain({0: 0.1}, {0: 0.9})
    assert gain.mean == pytest.approx(0.8)
    assert math.isnan(gain.low)
    assert math.isnan(gain.high)
    assert not gain.settled


def test_no_common_seed_gives_no_number() -> None:
    gain = paired_gain({0: 0.1}, {1: 0.9})
    assert gain.n == 0
    assert math.isnan(gain.mean)
    assert not gain.settled


def test_rare_classes_hold_at_most_a_twentieth(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("base")))
    share = [count / sum(TRAIN_PIXELS) for count in TRAIN_PIXELS]
    assert summary.train_share == pytest.approx(share)
    held = sum(share[c] for c in summary.rare)
    next_rarest = max(c for c in range(len(share)) if c not in summary.rare)
    assert held <= 0.05 < held + share[next_rarest]
    assert list(summary.rare) == sorted(summary.rare, key=lambda c: -share[c])


def test_at_least_the_rarest_class_is_rare(make_runs: MakeRuns) -> None:
    even = make_runs("base", edit=lambda r: r.update(train_pixels=[100] * 8 + [99]))
    assert summarize(read_runs(even)).rare == (8,)


def test_the_same_gain_with_every_seed_has_no_width() -> None:
    gain = paired_gain({0: 0.25, 1: 0.5}, {0: 0.5, 1: 0.75})
    assert (gain.low, gain.mean, gain.high) == (0.25, 0.25, 0.25)
    assert gain.settled


def test_many_unchanged_classes_are_folded_and_few_are_not(make_runs: MakeRuns) -> None:
    summary = summarize(read_runs(make_runs("base", "loss-only", edit=many_classes)))
    assert {40, 58} < summary.folded, "never found, and never seen"
    assert all(not gain.points for m in summary.rivals if m.gains for c, gain in
               enumerate(m.gains.iou) if c in summary.folded and gain.n)  # fmt: skip
    assert not {50, 58} & set(summary.rare), "absent classes are not rare"
    few = make_runs("bootstrap", "inverse-median")
    assert not summarize(read_runs(few)).folded
