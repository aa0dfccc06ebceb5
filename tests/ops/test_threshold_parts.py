"""The pieces of the solver by themselves: powers, histograms, selection, bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lossmaxpool.ops.backends.threshold import (
    COARSE_WIDTH,
    FINE_BINS,
    _coarse_bound,
    _fine_bound,
    count_by_bincount,
    count_by_scatter,
    floor_to,
    kth_largest,
    relative_power,
)
from lossmaxpool.ops.ranks import Local
from lossmaxpool.ops.weighting_set import WeightingSet
from lossmaxpool.paper import algorithm1
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.tolerances import FEASIBLE, FLOAT32, SOLVER


@pytest.mark.parametrize("exponent", [0.01, 0.5, 1.0, 3.3, 8.0, 8.1, 100.0, 1e4])
def test_relative_power_is_exact_to_the_weights_tolerance_in_float32(exponent: float) -> None:
    rng = np.random.default_rng(0)
    near = 1 - rng.random(2000) ** 4 * min(1, 20 / exponent)
    x = torch.from_numpy(np.concatenate([near, rng.random(500), [0.0, 1.0]])).float() * 0.3
    anchor = x.amax()
    power = relative_power(x.unsqueeze(0), anchor.view(1, 1), exponent)[0]
    truth = (x.double() / anchor.double()) ** exponent
    assert (power.double() - truth).abs().max() < FLOAT32
    assert power[-2] == 0
    assert power[-1] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", [0.001, 1 / 99, 0.1, 1 / 9])
def test_small_powers_of_ratios_below_the_smallest_normal_number(
    exponent: float, dtype: torch.dtype
) -> None:
    """p >= 10: the ratio has lost its last places, or is 0, where its power is not small."""
    tiny = torch.finfo(dtype).tiny
    x = torch.tensor([[tiny, tiny / 8, 3 * tiny * torch.finfo(dtype).eps, 0.0]], dtype=dtype)
    anchor = torch.tensor([[1e5]], dtype=dtype)
    power = relative_power(x, anchor, exponent).double()
    truth = (exponent * (x.double().log() - anchor.double().log())).exp()
    torch.testing.assert_close(power, truth, rtol=SOLVER[dtype], atol=0)


def test_floor_to_never_rounds_up() -> None:
    x = torch.rand(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    floor = floor_to(x, torch.float32)
    assert bool((floor.double() <= x).all())
    above = torch.nextafter(floor, torch.full_like(floor, torch.inf))
    assert bool((above.double() > x).all())


def test_both_histograms_count_the_same() -> None:
    index = torch.randint(0, 9, (3, 500), generator=torch.Generator().manual_seed(0))
    expected = torch.stack([(index == b).sum(1) for b in range(8)], dim=1)
    assert count_by_bincount(index.int(), 8).equal(expected)  # 8 itself is dropped
    assert count_by_scatter(index.int(), 8).equal(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", list(LOSS_FAMILIES))
def test_the_kth_largest_is_that_of_a_sort(family: str, dtype: torch.dtype) -> None:
    losses = torch.from_numpy(LOSS_FAMILIES[family](np.random.default_rng(2), 257)).to(dtype)
    ordered = losses.sort(descending=True).values
    for k in (1, 2, 64, 128, 256, 257):
        found = kth_largest(losses.unsqueeze(0), torch.tensor([k]), Local())
        assert found.item() == ordered[k - 1].item()
    assert kth_largest(losses.unsqueeze(0), torch.tensor([258]), Local()).item() == 0


@pytest.mark.parametrize("p", P_VALUES[1:])
@pytest.mark.parametrize("family", list(LOSS_FAMILIES))
def test_the_bounds_are_above_alpha_by_at_most_their_width(family: str, p: float) -> None:
    losses = LOSS_FAMILIES[family](np.random.default_rng(6), 3000)
    rows = torch.from_numpy(losses).unsqueeze(0)
    q = WeightingSet(p, 0.25).q
    for m in (1.0, 750.0, 2900.5):
        _, alpha = algorithm1.solve(losses, p, m)
        support = torch.tensor([m], dtype=torch.float64)
        coarse = _coarse_bound(rows, q, support, rows.amax(1), Local())
        fine = _fine_bound(rows, q, support, coarse, Local()).item()
        if alpha == 0:
            # The rest is below the smallest positive loss; Newton takes it to 0.
            assert coarse.item() < losses[losses > 0].min()
            continue
        slack = 1 + FEASIBLE[torch.float64]
        assert alpha / slack <= coarse.item() <= alpha * (1 + COARSE_WIDTH) * slack
        assert alpha / slack <= fine <= alpha * (1 + 3 * COARSE_WIDTH / FINE_BINS) * slack
