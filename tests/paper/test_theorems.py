"""Theorems 1 and 2 as theorems: bounds, feasibility, optimality, limits, symmetries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossmaxpool.paper import powers, theorems, weighting_set
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.paper import exact
from tests.paper.instances import instances
from tests.tolerances import LIMIT, ORACLE

every_case = pytest.mark.parametrize(
    ("family", "p"), [(family, p) for family in LOSS_FAMILIES for p in P_VALUES]
)


@every_case
def test_loss_is_at_least_the_mean_and_at_most_the_largest(family: str, p: float) -> None:
    for losses, m in instances(family, p):
        value = theorems.solve(losses, p, m).value
        assert losses.mean() * (1 - ORACLE) <= value <= losses.max() * (1 + ORACLE)


@every_case
def test_weights_are_feasible_and_reach_the_value(family: str, p: float) -> None:
    """Eq. 4: w* is in W, and w*·l is L_W."""
    for losses, m in instances(family, p):
        solution = theorems.solve(losses, p, m)
        assert weighting_set.contains(solution.weights, p, m, rtol=ORACLE)
        assert (solution.weights >= 0).all()
        assert solution.weights @ losses == pytest.approx(solution.value, rel=ORACLE, abs=0)


@every_case
def test_norm_constraint_is_tight_unless_the_threshold_is_zero(family: str, p: float) -> None:
    for losses, m in instances(family, p):
        solution = theorems.solve(losses, p, m)
        if solution.threshold > 0:
            gamma = weighting_set.norm_bound(losses.size, p)
            assert powers.norm(solution.weights, p) == pytest.approx(gamma, rel=ORACLE)


@every_case
def test_at_least_m_pixels_are_supported(family: str, p: float) -> None:
    """Sect. 2: ceil(m) pixels, or all that lose anything where these are fewer."""
    for losses, m in instances(family, p, sizes=(1, 2, 5, 12)):
        supported = np.count_nonzero(theorems.solve(losses, p, m).weights)
        assert supported >= min(math.ceil(m), np.count_nonzero(losses))


@every_case
def test_weights_never_decrease_with_the_loss(family: str, p: float) -> None:
    for losses, m in instances(family, p):
        weights = theorems.solve(losses, p, m).weights[np.argsort(losses)]
        assert np.diff(weights).min(initial=0.0) >= -ORACLE * weights.max()


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", [p for p in P_VALUES if 1 < p < math.inf])
def test_weights_in_fifty_digits(family: str, p: float) -> None:
    """Theorem 1, w* = tau min(1, (l / alpha*)^(q-1)), also where q - 1 = 10^4."""
    for losses, m in instances(family, p, sizes=(1, 2, 5, 30)):
        _, alpha = exact.algorithm_1(losses.tolist(), p, m)
        if alpha > 0:
            tau = weighting_set.weight_cap(losses.size, p, m)
            expected = exact.fractions_of_cap(losses.tolist(), p, alpha)
            fractions = theorems.solve(losses, p, m).weights / tau
            assert np.abs(fractions - expected).max() <= ORACLE


@pytest.mark.parametrize("p", [p for p in P_VALUES if p < math.inf])
def test_zero_threshold_leaves_zero_losses_without_weight(p: float) -> None:
    solution = theorems.solve([0.0, 2.0, 0.0, 1.0, 0.0], p, 2.5)
    tau = weighting_set.weight_cap(5, p, 2.5)
    assert solution.weights.tolist() == [0, tau, 0, tau, 0]
    assert solution.threshold == 0


def test_ties_at_the_threshold_share_equally_for_p_1() -> None:
    """m = 2.5: one pixel above, 1.5 tau for the three that tie; the paper may pick any two."""
    solution = theorems.theorem_2([1.0, 3.0, 1.0, 0.5, 1.0], 2.5)
    assert solution.weights == pytest.approx([0.2, 0.4, 0.2, 0.0, 0.2], rel=ORACLE)
    assert solution.capped.tolist() == [False, True, False, False, False]
    assert solution.threshold == 1
    assert solution.value == pytest.approx((3 + 1.5 * 1) / 2.5, rel=ORACLE)


@pytest.mark.parametrize("family", LOSS_FAMILIES)
def test_p_1_averages_the_largest(family: str) -> None:
    """Theorem 2 for a whole m: the mean of the m largest losses."""
    for losses, m in instances(family, 1.0):
        k = math.floor(m)
        top = np.sort(losses)[-k:].mean()
        assert theorems.theorem_2(losses, k).value == pytest.approx(top, rel=ORACLE, abs=0)


@pytest.mark.parametrize("family", LOSS_FAMILIES)
def test_p_infinity_is_the_mean_with_uniform_weights(family: str) -> None:
    """Also on zero losses, for any m."""
    for losses, m in instances(family, math.inf):
        solution = theorems.solve(losses, math.inf, m)
        assert (solution.weights == 1 / losses.size).all()
        assert solution.value == pytest.approx(losses.mean(), rel=ORACLE, abs=0)


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", P_VALUES)
def test_whole_support_is_the_mean_with_uniform_weights(family: str, p: float) -> None:
    for losses, m in instances(family, p):
        if m < losses.size:
            continue
        solution = theorems.solve(losses, p, m)
        positive = losses > 0
        expected = np.where(positive | math.isinf(p), 1 / losses.size, 0.0)
        assert solution.weights == pytest.approx(expected, rel=ORACLE, abs=0)
        assert solution.value == pytest.approx(losses.mean(), rel=ORACLE, abs=0)


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize(("limit", "near"), [(1.0, 1 + 1e-9), (math.inf, 1e9), (math.inf, 1e300)])
def test_ends_of_p_are_limits(family: str, limit: float, near: float) -> None:
    for losses, m in instances(family, limit):
        at_limit = theorems.solve(losses, limit, m).value
        assert theorems.solve(losses, near, m).value == pytest.approx(at_limit, rel=LIMIT)


@pytest.mark.parametrize("family", LOSS_FAMILIES)
def test_value_falls_with_p_and_with_m(family: str) -> None:
    """The sets W shrink: as p grows for a fixed m, and as m grows for a fixed p."""
    for losses, m in instances(family, 1.0):
        values = [theorems.solve(losses, p, m).value for p in P_VALUES]
        assert np.diff(values).max() <= ORACLE * max(values)
        wider = [theorems.solve(losses, 1.3, k).value for k in (1.0, (1 + m) / 2, m)]
        assert np.diff(wider).max() <= ORACLE * max(wider)


@every_case
def test_permutation_equivariance(family: str, p: float) -> None:
    for losses, m in instances(family, p):
        order = np.random.default_rng(0).permutation(losses.size)
        straight, permuted = (theorems.solve(each, p, m) for each in (losses, losses[order]))
        tau = weighting_set.weight_cap(losses.size, p, m)
        assert permuted.value == pytest.approx(straight.value, rel=ORACLE, abs=0)
        assert np.abs(permuted.weights - straight.weights[order]).max() <= ORACLE * tau


@every_case
@pytest.mark.parametrize("scale", [1e-30, 7.0, 1e30])
def test_scale_equivariance(family: str, p: float, scale: float) -> None:
    """L_W is homogeneous of degree 1, w* of degree 0."""
    for losses, m in instances(family, p, sizes=(1, 2, 5, 12)):
        plain, scaled = (theorems.solve(each, p, m) for each in (losses, scale * losses))
        # Scaling by 7 rounds every loss, which the exponent q multiplies.
        slack = ORACLE * max(1.0, 0.01 * weighting_set.conjugate(p)) if p > 1 else ORACLE
        assert scaled.value == pytest.approx(scale * plain.value, rel=ORACLE, abs=0)
        assert scaled.threshold == pytest.approx(scale * plain.threshold, rel=ORACLE, abs=0)
        assert np.abs(scaled.weights - plain.weights).max() <= slack * plain.weights.max()


@every_case
def test_weights_are_a_subgradient(family: str, p: float) -> None:
    """L_W is convex in l with subgradient w*: L_W(k) >= L_W(l) + w*·(k - l) for every k."""
    rng = np.random.default_rng(0)
    for losses, m in instances(family, p, sizes=(1, 2, 5, 12)):
        solution = theorems.solve(losses, p, m)
        for step in (1e-3, 1.0):
            other = losses * np.exp(step * rng.normal(size=losses.size))
            bound = solution.value + solution.weights @ (other - losses)
            assert theorems.solve(other, p, m).value >= bound - ORACLE * max(
                losses.max(), other.max()
            )


def test_extreme_magnitudes_neither_overflow_nor_vanish() -> None:
    for p in P_VALUES:
        assert theorems.solve(np.full(4, 1e307), p, 2).value == pytest.approx(1e307)
        assert theorems.solve([0.0, 1e-300, 2e-300], p, 2).value == pytest.approx(
            1e-300 * theorems.solve([0.0, 1.0, 2.0], p, 2).value, rel=ORACLE, abs=0
        )
        solution = theorems.solve([1e-300, 1.0, 1e300], p, 1.5)
        assert np.isfinite(solution.weights).all()
        assert weighting_set.contains(solution.weights, p, 1.5, rtol=ORACLE)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="p = 1 is theorem_2"):
        theorems.theorem_1([1.0, 2.0], 1, 1)
    with pytest.raises(ValueError, match="negative"):
        theorems.solve([1.0, -2.0], 1.3, 1)
    with pytest.raises(ValueError, match="negative"):
        theorems.theorem_2([1.0, -2.0], 1)
    with pytest.raises(ValueError, match="expected 1 <= m"):
        theorems.theorem_2([1.0, 2.0], 0)
    with pytest.raises(ValueError, match="expected 1 <= p"):
        theorems.solve([1.0, 2.0], 0.5, 1)
