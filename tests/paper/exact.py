"""Algorithm 1 and Theorem 1 as printed, in 50 decimal digits, where nothing underflows."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import Decimal

CONTEXT = decimal.Context(prec=50, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)


def algorithm_1(losses: Sequence[float], p: float, m: float) -> tuple[int, Decimal]:
    """Lines 2 to 12 of Algorithm 1: the size of J* and alpha*. 1 < p < inf."""
    with decimal.localcontext(CONTEXT):
        q = exponent(p)
        powers = [power(loss, q) for loss in sorted(losses)]
        c, a = Decimal(m) - len(powers), Decimal(0)
        for i, loss_power in enumerate(powers):
            if (c + 1) * loss_power - (a + loss_power) > 0:
                return len(powers) - i, power(a / c, 1 / q)
            c, a = c + 1, a + loss_power
        return 0, power(a / c, 1 / q)


def fractions_of_cap(losses: Sequence[float], p: float, alpha: Decimal) -> list[float]:
    """``w* / tau = min(1, (l / alpha*)^(q-1))``, 1 < p < inf and alpha* > 0."""
    with decimal.localcontext(CONTEXT):
        q = exponent(p)
        return [float(min(Decimal(1), power(Decimal(loss) / alpha, q - 1))) for loss in losses]


def exponent(p: float) -> Decimal:
    return Decimal(p) / (Decimal(p) - 1)


def power(base: float | Decimal, exponent: Decimal) -> Decimal:
    return Decimal(base) ** exponent if base else Decimal(0)
