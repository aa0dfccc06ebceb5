"""The primal ``max {w·l : ||w||_p <= gamma, w <= tau}`` solved by general-purpose solvers.

All of them work on ``v = w / tau``, for which W reads ``sum v^p <= m, v <= 1``, and on losses whose
largest is 1: nothing else is well conditioned at p = 1.01.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

Array = NDArray[np.float64]
Program = Callable[[Array, float, float], Array]  # (losses, p, m) -> v, losses with maximum 1


@cache
def _conic(n: int, p: float) -> tuple[cp.Problem, cp.Variable, cp.Parameter, cp.Parameter]:
    v, losses, radius = cp.Variable(n), cp.Parameter(n), cp.Parameter(nonneg=True)
    constraints = [v >= 0, v <= 1]
    if p == 1:
        constraints.append(cp.sum(v) <= radius)
    elif math.isfinite(p):
        # The p-norm ball: sum t <= r with t^(1/p) r^(1-1/p) >= v. radius = m^(1/p).
        t = cp.Variable(n)
        constraints.append(cp.sum(t) <= radius)
        constraints.append(cp.constraints.PowCone3D(t, radius * np.ones(n), v, 1 / p))
    return cp.Problem(cp.Maximize(losses @ v), constraints), v, losses, radius


def interior_point(losses: Array, p: float, m: float) -> Array:
    """Power cones through cvxpy to Clarabel."""
    problem, v, losses_parameter, radius = _conic(losses.size, p)
    losses_parameter.value, radius.value = losses, m ** (1 / p)
    with warnings.catch_warnings():
        # Clarabel says "inaccurate" where it stops at 1e-8; how accurate it is gets asserted.
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
        problem.solve(solver=cp.CLARABEL)
    return np.asarray(v.value, dtype=np.float64)


def second_solver(losses: Array, p: float, m: float) -> Array:
    """SciPy: simplex (HiGHS) where the program is linear, else sequential quadratic (SLSQP)."""
    if p == 1 or math.isinf(p):
        return _linear(losses, p, m)
    # Near p = 1, SLSQP stalls now and then, on other instances in one form than in the other. A
    # feasible point of either is a lower bound of the maximum, so the better one counts.
    found = [_in_weights(losses, p, m)]
    if p < 1.2:
        found.append(_in_masses(losses, p, m))
    feasible = [v / max(1.0, ((v**p).sum() / m) ** (1 / p)) for v in found]
    return max(feasible, key=lambda v: float(losses @ v))


def _linear(losses: Array, p: float, m: float) -> Array:
    rows = {"A_ub": np.ones((1, losses.size)), "b_ub": [m]} if p == 1 else {}
    result = linprog(-losses, bounds=(0, 1), method="highs", **rows)
    assert result.success, result.message
    return result.x


def _in_weights(losses: Array, p: float, m: float) -> Array:
    """Linear objective, curved constraint."""
    n = losses.size
    ball = {
        "type": "ineq",
        "fun": lambda v: 1 - (v**p).sum() / m,
        "jac": lambda v: -p * v ** (p - 1) / m,
    }
    start = np.full(n, 0.999 * (m / n) ** (1 / p))
    return _slsqp(lambda v: (-(losses @ v), -losses), start, ball, lowest=0.0)


def _in_masses(losses: Array, p: float, m: float) -> Array:
    """The same in ``x = v^p``: concave objective, linear constraint, which p near 1 prefers."""
    n = losses.size

    def objective(x: Array) -> tuple[float, Array]:
        return -(losses @ x ** (1 / p)), -losses / p * x ** (1 / p - 1)

    budget = {"type": "ineq", "fun": lambda x: m - x.sum(), "jac": lambda x: -np.ones(n)}
    # The slope at x = 0 is infinite, hence the floor.
    return _slsqp(objective, np.full(n, m / n), budget, lowest=1e-15) ** (1 / p)


def _slsqp(
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    constraint: dict[str, object],
    lowest: float,
) -> Array:
    # No check of success: SLSQP calls a line search that cannot improve on 1e-13 a failure. A
    # second run from where the first stopped forgets its estimate of the curvature, and gets on.
    for _ in range(2):
        start = minimize(
            objective,
            start,
            jac=True,
            bounds=[(lowest, 1)] * start.size,
            constraints=[constraint],
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-14},
        ).x
    return start
