"""Logarithms of ratios and norms keep their digits where plain powers lose them all."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal

import numpy as np
import pytest

from lossmaxpool.paper import powers
from tests.paper.exact import CONTEXT
from tests.tolerances import LOGARITHM, ORACLE


@pytest.mark.parametrize("gap", [0.0, 1e-16, 1e-12, 1e-3, 0.4, 0.6, 1 - 1e-9, 1 - 1e-16])
def test_log_ratio_has_relative_accuracy(gap: float) -> None:
    anchor = 0.7
    value = anchor * (1 - gap)
    with decimal.localcontext(CONTEXT):
        exact = float((Decimal(value) / Decimal(anchor)).ln())
    assert powers.log_ratio(np.array([value]), anchor)[0] == pytest.approx(
        exact, rel=LOGARITHM, abs=0
    )


def test_log_ratio_of_zero_is_minus_infinity() -> None:
    assert powers.log_ratio(np.array([0.0]), 2.0)[0] == -math.inf


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0, 10001.0, math.inf])
def test_norm_scales_without_underflow_or_overflow(exponent: float, scale: float) -> None:
    values = np.array([3.0, -4.0, 0.0])
    expected = {1.0: 7.0, 1.5: (3**1.5 + 8) ** (2 / 3), 2.0: 5.0}.get(exponent, 4.0)
    assert powers.norm(scale * values, exponent) == pytest.approx(scale * expected, rel=ORACLE)


def test_norm_of_zeros_is_zero() -> None:
    assert powers.norm(np.zeros(3), 1.3) == 0
