"""Optimality for arbitrary floats: subnormals, 1e300, near ties, any p and m."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossmaxpool.paper import dual, theorems, weighting_set
from tests.tolerances import ORACLE

losses_of = st.lists(st.floats(0, 1e300), min_size=1, max_size=8)
near_ties = st.lists(st.sampled_from([0.0, 1.0, 1 - 2**-53, 1 + 2**-52, 1 + 1e-9]), min_size=1)
exponents = st.sampled_from([1.0, math.inf]) | st.floats(1, 1e300) | st.floats(1, 1.01)


@settings(max_examples=500)
@given(losses=losses_of | near_ties, p=exponents, share=st.floats(0, 1))
def test_weights_are_feasible_and_certified_optimal(
    losses: list[float], p: float, share: float
) -> None:
    """w* is in W, and w*·l equals the dual bound g(lambda*): neither could be improved."""
    m = 1 + share * (len(losses) - 1)
    solution = theorems.solve(losses, p, m)
    tiny = 1e-300  # products of subnormal losses have no relative accuracy
    assert weighting_set.contains(solution.weights, p, m, rtol=ORACLE)
    primal = float(solution.weights @ np.array(losses))
    assert primal == pytest.approx(solution.value, rel=ORACLE, abs=tiny)
    bound = dual.g(solution.dual, losses, p, m)
    assert bound == pytest.approx(solution.value, rel=ORACLE, abs=tiny)
