"""Eq. 6 to 9: the dual bound, its fixed point, and the sign of eta."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossmaxpool.paper import dual, powers, theorems, weighting_set
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.paper.instances import instances
from tests.tolerances import FLOAT64, ORACLE

ABOVE_1 = [p for p in P_VALUES if p > 1]


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", P_VALUES)
def test_every_multiplier_bounds_the_loss_from_above(family: str, p: float) -> None:
    """Eq. 6: L_W is the minimum of g over lam >= 0."""
    rng = np.random.default_rng(0)
    for losses, m in instances(family, p, sizes=(1, 2, 5, 12)):
        value = theorems.solve(losses, p, m).value
        for _ in range(5):
            multipliers = losses * rng.random(losses.size) * rng.integers(0, 2, losses.size)
            assert dual.g(multipliers, losses, p, m) >= value * (1 - ORACLE)


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", P_VALUES)
def test_duality_gap_is_zero(family: str, p: float) -> None:
    for losses, m in instances(family, p):
        solution = theorems.solve(losses, p, m)
        bound = dual.g(solution.dual, losses, p, m)
        assert bound == pytest.approx(solution.value, rel=ORACLE, abs=0)


def test_dual_objective_by_hand() -> None:
    """Eq. 7 with n = 2, p = q = 2, m = 1: tau = gamma = 1/sqrt 2."""
    assert dual.g([0, 1], [3, 5], 2, 1) == pytest.approx((1 + 5) / math.sqrt(2), rel=ORACLE)


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", P_VALUES)
def test_minimizer_is_a_fixed_point(family: str, p: float) -> None:
    """Eq. 8; also Proposition 1: alpha* = m^(-1/q) ||l - lambda*||_q."""
    for losses, m in instances(family, p):
        fixed = theorems.solve(losses, p, m).dual
        again = dual.kkt(fixed, losses, p, m)
        assert np.abs(again - fixed).max() <= 10 * ORACLE * losses.max()


@pytest.mark.parametrize("p", [p for p in ABOVE_1 if p < math.inf])
def test_among_fixed_points_the_minimizer_is_farthest_from_the_losses(p: float) -> None:
    """Proposition 3: lam = l always satisfies Eq. 8 too, with ||l - lam||_q = 0."""
    losses = np.array([0.5, 1.0, 3.0])
    solution = theorems.solve(losses, p, 2)
    assert (dual.kkt(losses, losses, p, 2) == losses).all()
    assert dual.g(losses, losses, p, 2) > solution.value
    assert powers.norm(losses - solution.dual, weighting_set.conjugate(p)) > 0


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", ABOVE_1)
def test_eta_changes_its_sign_once(family: str, p: float) -> None:
    """Proposition 8: where eta is positive at a, it is positive at every b > a."""
    for losses, m in instances(family, p, sizes=(1, 2, 5, 12)):
        grid = np.unique(np.concatenate([losses, np.geomspace(1e-8, 1e5, 100)]))
        signs = [dual.eta_over_power(a, losses, p, m) > FLOAT64 * m for a in grid if a > 0]
        assert signs == sorted(signs)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("p", [1.3, 2.0, 4.0, math.inf])
def test_eta_equals_its_safe_form(p: float, alpha: float) -> None:
    losses, q = [0.0, 0.1, 0.5, 0.9, 2.5], 1 / (1 - 1 / p)
    plain = dual.eta(alpha, losses, p, 2.5)
    assert plain / alpha**q == pytest.approx(dual.eta_over_power(alpha, losses, p, 2.5), rel=ORACLE)


def test_eta_by_hand() -> None:
    """Eq. 9 with p = q = 2, m = 2 at a = 2: (2 - 1) 2^2 - (1^2 + 2^2)."""
    assert dual.eta(2, [1, 2, 3], 2, 2) == -1


def test_plain_eta_underflows_where_the_safe_form_keeps_its_sign() -> None:
    losses = [1e-4, 2e-4, 3e-4]
    assert dual.eta(4e-4, losses, 1.01, 2) == 0
    assert dual.eta_over_power(4e-4, losses, 1.01, 2) == pytest.approx(2)


def test_zero_is_always_a_root_and_not_always_the_only_one() -> None:
    """As many positive losses as m: every a up to the smallest of them is a root."""
    losses = [0.0, 0.0, 1.0, 2.0]
    assert dual.eta(0, losses, 2, 2) == 0
    assert dual.eta(0.5, losses, 2, 2) == 0
    assert dual.eta(1.0, losses, 2, 2) == 0
    assert theorems.solve(losses, 2, 2).threshold == 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1,\)"):
        dual.g([0.0], [1.0, 2.0], 2, 1)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="1 of them negative or not finite"):
            dual.kkt([0.0, bad], [1.0, 2.0], 2, 1)
        with pytest.raises(ValueError, match="expected 0 <= alpha"):
            dual.lambda_star([1.0, 2.0], bad)
    with pytest.raises(ValueError, match="p = 1; expected p > 1"):
        dual.eta(1.0, [1.0, 2.0], 1, 1)
    with pytest.raises(ValueError, match="alpha = -1"):
        dual.eta(-1.0, [1.0, 2.0], 2, 1)
    with pytest.raises(ValueError, match="expected alpha > 0"):
        dual.eta_over_power(0.0, [1.0, 2.0], 2, 1)
