"""The explorer's JavaScript against the oracle, in a browser where there is one."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossmaxpool.paper import theorems
from lossmaxpool.paper.weighting_set import norm_bound, weight_cap
from tests.browser import evaluate
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.tolerances import IN_JAVASCRIPT

MATHEMATICS = (files("lossmaxpool.explorer") / "mathematics.js").read_text(encoding="utf-8")
FRACTIONS = (0.001, 0.1, 0.25, 0.613, 1.0)
SIZES = (1, 3, 101)
ALL = """
cases.flatMap(({ losses, p, fractions }) => {
  const pool = sortPool([losses]);
  return fractions.map(fraction => {
    const { weight, ...rest } = solve(pool, p === "inf" ? Infinity : p, fraction);
    const support = effectiveSupport(pool, weight);
    return { ...rest, p: null, weights: losses.map(weight), support };
  });
})
"""


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, float, float, Any]]:
    """Losses, p, fraction, and JavaScript's solution, for every family, size, p and m."""
    rng = np.random.default_rng(0)
    maps = [family(rng, n) for family in LOSS_FAMILIES.values() for n in SIZES]
    cases = [
        {"losses": losses.tolist(), "p": "inf" if math.isinf(p) else p, "fractions": FRACTIONS}
        for losses in maps
        for p in P_VALUES
    ]
    script = f"{MATHEMATICS}\nconst cases = {json.dumps(cases)};"
    results = evaluate(script, ALL, tmp_path_factory.mktemp("javascript"))
    asked = [(losses, p, f) for losses in maps for p in P_VALUES for f in FRACTIONS]
    return [(*one, result) for one, result in zip(asked, results, strict=True)]


def test_the_solution_is_the_oracle_s(solved: list[tuple[Any, float, float, Any]]) -> None:
    for losses, p, fraction, found in solved:
        n = losses.size
        m = min(max(fraction * n, 1), n)
        truth = theorems.solve(losses, p, m)
        tau = weight_cap(n, p, m)
        where = f"n = {n}, p = {p}, m / n = {fraction}, losses {losses[:5]}"
        assert found["capped"] == int(truth.capped.sum()), where
        assert found["value"] == pytest.approx(truth.value, rel=IN_JAVASCRIPT), where
        assert found["alpha"] == pytest.approx(truth.threshold, rel=IN_JAVASCRIPT), where
        assert found["mean"] == pytest.approx(losses.mean(), rel=IN_JAVASCRIPT), where
        assert found["tau"] == pytest.approx(tau, rel=IN_JAVASCRIPT), where
        assert found["gamma"] == pytest.approx(norm_bound(n, p), rel=IN_JAVASCRIPT), where
        difference = np.abs(np.array(found["weights"]) - truth.weights).max()
        assert difference <= IN_JAVASCRIPT * tau, where


def test_the_effective_support_counts_equal_weights(
    solved: list[tuple[Any, float, float, Any]],
) -> None:
    for losses, _, _, found in solved:
        weights = np.array(found["weights"])
        if weights.sum() == 0:
            assert found["support"] == 0
            continue
        expected = weights.sum() ** 2 / (weights**2).sum()
        assert found["support"] == pytest.approx(expected, rel=IN_JAVASCRIPT)
        assert 0 < found["support"] <= losses.size * (1 + IN_JAVASCRIPT)


def test_a_histogram_shares_out_all_pixels_and_all_weight(tmp_path: Path) -> None:
    script = f"{MATHEMATICS}\nconst pool = sortPool([[0, 1e-9, 0.1, 0.2, 3, -1, 50]]);"
    found = evaluate(
        script,
        "(({ pixels, weights }) => [[...pixels], [...weights]])"
        "(histogram(pool, solve(pool, 1.3, 0.5).weight, 1e-4, 10, 8))",
        tmp_path,
    )
    pixels, weights = map(np.array, found)
    assert pixels.sum() == pytest.approx(1)
    assert weights.sum() == pytest.approx(1)
    assert pixels[0] == pytest.approx(2 / 6)  # the small ones; -1 is no pixel
    assert pixels[-1] == pytest.approx(2 / 6)  # 3, and what is beyond the last bin


def test_the_slider_reaches_both_ends(tmp_path: Path) -> None:
    expression = (
        "[exponentAt(0), String(exponentAt(1)), placeOf(Infinity), exponentAt(placeOf(1.3))]"
    )
    first, last, place, paper = evaluate(MATHEMATICS, expression, tmp_path)
    assert (first, last, place) == (1, "Infinity", 1)
    assert paper == pytest.approx(1.3)
