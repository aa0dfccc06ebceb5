"""Theorems 1 and 2 against the primal, solved numerically by two unrelated methods."""

from __future__ import annotations

import numpy as np
import pytest

from lossmaxpool.paper import theorems, weighting_set
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.paper.convex_programs import Program, interior_point, second_solver
from tests.paper.instances import instances
from tests.tolerances import CONVEX_PROGRAM, CONVEX_PROGRAM_WEIGHTS

SIZES = (2, 5, 12)


@pytest.mark.parametrize("program", [interior_point, second_solver])
@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", P_VALUES)
def test_value_is_the_maximum(program: Program, family: str, p: float) -> None:
    for losses, m in instances(family, p, SIZES):
        tau, scale = weighting_set.weight_cap(losses.size, p, m), losses.max() or 1.0
        weights = tau * program(losses / scale, p, m)
        solution = theorems.solve(losses, p, m)
        assert weighting_set.contains(weights, p, m, rtol=CONVEX_PROGRAM)
        assert weights @ losses == pytest.approx(solution.value, rel=CONVEX_PROGRAM, abs=0)


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", [1.3, 1.7, 2.0, 4.0])
def test_weights_are_the_maximizer(family: str, p: float) -> None:
    """Where it is unique and well determined: a strictly convex ball, losses that matter."""
    for losses, m in instances(family, p, SIZES):
        tau, scale = weighting_set.weight_cap(losses.size, p, m), losses.max() or 1.0
        found = interior_point(losses / scale, p, m)
        expected = theorems.solve(losses, p, m).weights / tau
        matter = losses > 1e-3 * scale
        assert np.abs(found - expected)[matter].max(initial=0.0) <= CONVEX_PROGRAM_WEIGHTS
