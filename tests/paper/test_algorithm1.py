"""Algorithm 1: exact in the log domain; its printed form underflows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossmaxpool.paper import algorithm1, dual, powers, theorems, weighting_set
from tests.cases import LOSS_FAMILIES, P_VALUES, lognormal
from tests.paper import exact
from tests.paper.instances import instances
from tests.tolerances import ORACLE, ORACLE_ROOT, PRINTED_ALGORITHM

STRICT = [p for p in P_VALUES if 1 < p < math.inf]


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", [*STRICT, 1 + 1e-9, 1e4])
def test_equals_the_printed_algorithm_in_fifty_digits(family: str, p: float) -> None:
    for losses, m in instances(family, p, sizes=(1, 2, 5, 30)):
        size, alpha = exact.algorithm_1(losses.tolist(), p, m)
        in_J, found = algorithm1.solve(losses, p, m)
        assert found == pytest.approx(float(alpha), rel=ORACLE, abs=0)
        # A loss that equals alpha* to the last digit may be counted on either side.
        assert in_J.sum() == size or np.isclose(losses, found, rtol=ORACLE, atol=0).any()


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", P_VALUES)
def test_capped_are_the_losses_above_the_threshold(family: str, p: float) -> None:
    """J* in the order of the losses: {l > alpha*}, and for p = 1 the floor(m) largest."""
    for losses, m in instances(family, p):
        in_J, alpha = algorithm1.solve(losses, p, m)
        assert losses[in_J].min(initial=math.inf) >= alpha * (1 - ORACLE)
        assert losses[~in_J].max(initial=0.0) <= alpha * (1 + ORACLE)
        assert in_J.sum() == math.floor(m) if p == 1 else in_J.sum() < m


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", [p for p in P_VALUES if p > 1])
def test_threshold_is_the_largest_root_of_eta(family: str, p: float) -> None:
    for losses, m in instances(family, p):
        _, alpha = algorithm1.solve(losses, p, m)
        if alpha > 0:
            root = dual.eta_over_power(alpha, losses, p, m)
            assert root == pytest.approx(0, abs=ORACLE_ROOT * m)
        for factor in (1.01, 2, 1e6):
            assert dual.eta_over_power(factor * (alpha or 1e-9), losses, p, m) > 0


@pytest.mark.parametrize("p", P_VALUES)
def test_fewer_positive_losses_than_support_leave_no_threshold(p: float) -> None:
    in_J, alpha = algorithm1.solve([0.0, 2.0, 0.0, 1.0, 0.0], p, 2.5)
    assert alpha == 0
    assert in_J.tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("p", P_VALUES)
def test_all_zero_losses(p: float) -> None:
    in_J, alpha = algorithm1.solve(np.zeros(4), p, 2)
    assert alpha == 0
    assert in_J.sum() == (2 if p == 1 else 0)


@pytest.mark.parametrize("p", [p for p in P_VALUES if p > 1])
@pytest.mark.parametrize("m", [1, 2.5, 4])
def test_constant_losses_are_all_below_the_threshold(p: float, m: float) -> None:
    """Condition a) of Sect. 4: i = n and eta_n <= 0, so that J* is empty."""
    in_J, alpha = algorithm1.solve(np.full(4, 0.3), p, m)
    q = weighting_set.conjugate(p)
    assert not in_J.any()
    assert alpha == pytest.approx(0.3 * (4 / m) ** (1 / q), rel=ORACLE)


def test_whole_support_at_p_1_has_no_loss_left() -> None:
    """Line 15 with the guard corrected: i = 1, so there is no loss before the first."""
    in_J, alpha = algorithm1.solve([3.0, 1.0, 2.0], 1, 3)
    assert in_J.all()
    assert alpha == 0


def test_printed_guard_of_line_15_reads_before_the_first_loss() -> None:
    _, alpha = algorithm1.solve_as_printed([3.0, 1.0, 2.0], 1, 3)
    assert math.isnan(alpha)


@pytest.mark.parametrize("p", [1.3, 1.7, 2.0, 4.0, math.inf])
@pytest.mark.parametrize("family", LOSS_FAMILIES)
def test_printed_version_agrees_where_nothing_underflows(family: str, p: float) -> None:
    for losses, m in instances(family, p):
        losses = losses.round(3)  # no loss so small that its power vanishes
        _, printed = algorithm1.solve_as_printed(losses, p, m)
        _, alpha = algorithm1.solve(losses, p, m)
        assert printed == pytest.approx(alpha, rel=PRINTED_ALGORITHM)


def test_printed_version_underflows_near_p_1() -> None:
    """p = 1.01: all but the largest powers vanish, alpha* is 0 and the norm constraint is slack."""
    p, n = 1.01, 100_000
    losses, m = lognormal(np.random.default_rng(0), n), 0.25 * n
    gamma, tau = weighting_set.norm_bound(n, p), weighting_set.weight_cap(n, p, m)

    printed_J, printed = algorithm1.solve_as_printed(losses, p, m)
    assert printed == 0
    assert powers.norm(np.where(printed_J, tau, 0.0), p) < 0.6 * gamma

    solution = theorems.solve(losses, p, m)
    assert powers.norm(solution.weights, p) == pytest.approx(gamma, rel=ORACLE)
    assert solution.value > 1.05 * tau * losses[printed_J].sum()


def test_a_million_pixels_keep_the_accuracy() -> None:
    n = 10**6
    losses, m = lognormal(np.random.default_rng(1), n), 0.25 * n
    for p in (1.0001, 1.3):
        _, alpha = algorithm1.solve(losses, p, m)
        root = dual.eta_over_power(alpha, losses, p, m)
        assert root == pytest.approx(0, abs=ORACLE_ROOT * m)


@pytest.mark.parametrize("solve", [algorithm1.solve, algorithm1.solve_as_printed])
def test_bad_input_is_refused(solve: object) -> None:
    assert callable(solve)
    with pytest.raises(ValueError, match="NaN"):
        solve([1.0, math.nan], 1.3, 1)
    with pytest.raises(ValueError, match="expected 1 <= p"):
        solve([1.0, 2.0], 0.5, 1)
    with pytest.raises(ValueError, match="expected 1 <= m"):
        solve([1.0, 2.0], 1.3, 3)
