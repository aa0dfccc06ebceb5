"""The baselines of the benchmark compute the losses they are named after."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.speed.rivals import sorted_max_pool, top_k

from lossmaxpool.paper import theorems
from tests.cases import LOSS_FAMILIES
from tests.tolerances import FLOAT32, FLOAT64, SOLVER


@pytest.mark.parametrize("family", LOSS_FAMILIES)
@pytest.mark.parametrize("p", [1.3, 2.0])
@pytest.mark.parametrize("share", [0.25, 0.05])
def test_sorting_equals_the_oracle(family: str, p: float, share: float) -> None:
    rng = np.random.default_rng(0)
    rows = np.stack([LOSS_FAMILIES[family](rng, 1000) for _ in range(2)])
    truth = [theorems.solve(row, p, share * row.size) for row in rows]
    losses = torch.from_numpy(rows).requires_grad_()
    value = sorted_max_pool(losses, p, share)
    value.backward()
    assert value.item() == pytest.approx(
        np.mean([t.value for t in truth]), rel=SOLVER[torch.float64]
    )
    assert losses.grad is not None
    weights = 2 * losses.grad.numpy()  # the mean over two images halves them
    np.testing.assert_allclose(weights, [t.weights for t in truth], rtol=FLOAT32, atol=FLOAT64)


def test_bootstrapping_is_the_mean_of_the_highest_quarter() -> None:
    losses = torch.tensor([[4.0, 0.0, 1.0, 3.0, 2.0, 0.5, 0.1, 0.2]])
    assert top_k(losses).item() == 3.5
