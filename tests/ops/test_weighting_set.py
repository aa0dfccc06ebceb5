"""The value that carries p and m: the same numbers as the paper's own functions."""

from __future__ import annotations

import math

import pytest
import torch

from lossmaxpool.ops.weighting_set import WeightingSet
from lossmaxpool.paper import weighting_set
from tests.cases import P_VALUES
from tests.tolerances import ORACLE


@pytest.mark.parametrize("p", P_VALUES)
def test_exponents_and_bounds_are_those_of_the_paper(p: float) -> None:
    found = WeightingSet(p, 0.25)
    assert found.q == pytest.approx(weighting_set.conjugate(p), rel=ORACLE)
    # q - 1 itself would cancel for large p.
    assert found.exponent == (math.inf if p == 1 else 1 / (p - 1))
    assert (found.is_top_k, found.is_mean) == (p == 1, math.isinf(p))
    n = torch.tensor([1.0, 3.0, 302_500.0], dtype=torch.float64)
    m = found.support(n)
    for pixels, support, cap, gamma in zip(
        n.tolist(), m.tolist(), found.cap(n, m).tolist(), found.norm_bound(n).tolist(), strict=True
    ):
        assert support == max(0.25 * pixels, 1.0)
        assert cap == pytest.approx(weighting_set.weight_cap(int(pixels), p, support), rel=ORACLE)
        assert gamma == pytest.approx(weighting_set.norm_bound(int(pixels), p), rel=ORACLE)


def test_the_k_largest_are_a_weighting_set() -> None:
    found = WeightingSet.top_k(512)
    assert found.is_top_k
    assert found.support(torch.tensor([100.0, 512.0, 10_000.0])).tolist() == [100, 512, 512]


def test_a_pool_without_pixels_has_no_bounds() -> None:
    nothing = torch.zeros(1, dtype=torch.float64)
    assert WeightingSet(1.3, 0.25).norm_bound(nothing).item() == 0
    assert WeightingSet(1.3, 0.25).support(nothing).item() == 0
