"""Eq. 5: the set W, its bounds, and invalid arguments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossmaxpool.paper import powers, weighting_set
from tests.cases import P_VALUES
from tests.paper.instances import supports
from tests.tolerances import ORACLE


@pytest.mark.parametrize("p", P_VALUES)
def test_conjugate_exponents_add_up_to_one(p: float) -> None:
    q = weighting_set.conjugate(p)
    assert 1 / p + 1 / q == pytest.approx(1, rel=ORACLE)


def test_conjugate_exponent_has_its_limits() -> None:
    assert weighting_set.conjugate(1) == math.inf
    assert weighting_set.conjugate(math.inf) == 1


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_norm_bound_is_the_norm_of_uniform_weights(n: int, p: float) -> None:
    gamma = powers.norm(np.full(n, 1 / n), p)
    assert weighting_set.norm_bound(n, p) == pytest.approx(gamma, rel=ORACLE)


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_cap_runs_from_gamma_to_uniform(n: int, p: float) -> None:
    gamma = weighting_set.norm_bound(n, p)
    assert weighting_set.weight_cap(n, p, 1) == pytest.approx(gamma, rel=ORACLE)
    assert weighting_set.weight_cap(n, p, n) == 1 / n
    caps = [weighting_set.weight_cap(n, p, m) for m in supports(n)]
    assert caps == sorted(caps, reverse=True)


@pytest.mark.parametrize("p", [p for p in P_VALUES if p < math.inf])
@pytest.mark.parametrize("m", [1, 2.5, 7])
def test_support_inverts_the_cap(p: float, m: float) -> None:
    tau = min(weighting_set.weight_cap(7, p, m), weighting_set.norm_bound(7, p))
    assert weighting_set.support(7, p, tau) == pytest.approx(m, rel=ORACLE)


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("m", [1, 2.5, 7])
def test_uniform_weights_belong_to_the_set(p: float, m: float) -> None:
    assert weighting_set.contains(np.full(7, 1 / 7), p, m)


@pytest.mark.parametrize("p", P_VALUES)
def test_each_constraint_excludes(p: float) -> None:
    m = 2.5
    over_norm = np.full(7, 1.001 / 7)
    one_pixel = np.eye(7)[0]
    over_cap = 1.001 * weighting_set.weight_cap(7, p, m) * one_pixel
    assert not weighting_set.contains(over_norm, p, m)
    assert not weighting_set.contains(over_cap, p, m)
    assert not weighting_set.contains(-over_cap, p, m)  # the infinity norm bounds both sides
    assert weighting_set.contains(over_cap / 1.002, p, m)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
        ([], r"shape \(0,\)"),
        (3.0, r"shape \(\)"),
        (["a", "b"], "dtype <U1"),
        ([1j], "dtype complex128"),
        ([True, False], "dtype bool"),
        ([0.0, math.nan, math.nan], "2 of 3 losses .* nan at index 1"),
        ([0.0, math.inf], "1 of 2 losses .* inf at index 1"),
        ([-1.0, 0.0], r"1 of 2 losses .* -1\.0 at index 0"),
    ],
)
def test_bad_losses_are_refused(losses: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weighting_set.check_losses(losses)


@pytest.mark.parametrize("weights", [[], [[0.5, 0.5]], [0.5, math.nan], [0.5, math.inf]])
def test_bad_weights_are_refused(weights: object) -> None:
    with pytest.raises(ValueError, match="expected one dimension"):
        weighting_set.contains(weights, 1.3, 1)


@pytest.mark.parametrize("p", [0.99, 0, -1, math.nan, -math.inf])
def test_bad_exponents_are_refused(p: float) -> None:
    with pytest.raises(ValueError, match="expected 1 <= p <= inf"):
        weighting_set.conjugate(p)


@pytest.mark.parametrize("m", [0, 0.99, 7.01, math.nan, math.inf])
def test_bad_supports_are_refused(m: float) -> None:
    with pytest.raises(ValueError, match="expected 1 <= m <= n"):
        weighting_set.weight_cap(7, 1.3, m)


@pytest.mark.parametrize("tau", [0.1, 0.9, math.nan])
def test_bad_caps_are_refused(tau: float) -> None:
    with pytest.raises(ValueError, match="expected 1/n"):
        weighting_set.support(7, 1.3, tau)


def test_cap_does_not_determine_the_support_at_infinity() -> None:
    with pytest.raises(ValueError, match="expected a finite p"):
        weighting_set.support(7, math.inf, 1 / 7)


def test_integers_are_losses_and_negative_zero_is_zero() -> None:
    assert weighting_set.check_losses([3, 0]).tolist() == [3.0, 0.0]
    assert not np.signbit(weighting_set.check_losses([-0.0])).any()
