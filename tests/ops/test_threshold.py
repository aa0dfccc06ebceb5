"""The sort-free solver against the oracle, and its cost in passes over the losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lossmaxpool.ops.backends import threshold as module
from lossmaxpool.ops.backends.threshold import Threshold, find_threshold, optimal_weights, unpack
from lossmaxpool.ops.ranks import Local
from lossmaxpool.ops.weighting_set import WeightingSet
from lossmaxpool.paper import theorems
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.tolerances import FLOAT64, LAST_PLACES, NEAR_TIES, SOLVER

SHARES = (1e-9, 0.25, 0.97, 1.0)
DTYPES = (torch.float64, torch.float32)
# The loss maps on which the number of passes is promised.
MAPS = ("trained_ce", "overfit_ce", "lognormal", "exponential")


def solved(
    losses: Tensor, p: float, share: float, valid: Tensor | None = None
) -> tuple[Threshold, Tensor]:
    weighting = WeightingSet(p, share)
    packed = find_threshold(losses, valid, weighting, Local())
    return unpack(packed), optimal_weights(losses, valid, packed, weighting)


def deviation(losses: Tensor, p: float, share: float) -> float:
    """The worst relative error of one row's value and weights, against float64 truth."""
    found, weights = solved(losses.unsqueeze(0), p, share)
    n = losses.numel()
    truth = theorems.solve(losses.double().numpy(), p, min(max(share * n, 1.0), n))
    off = abs(found.value.item() - truth.value) / truth.value if truth.value else found.value.item()
    cap = found.cap.item()
    return max(off, float(np.abs(weights[0].double().numpy() - truth.weights).max()) / cap)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("n", [1, 2, 7, 100, 3000])
def test_value_and_weights_agree_with_the_oracle(n: int, p: float, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(n)
    for family, generate in LOSS_FAMILIES.items():
        losses = torch.from_numpy(generate(rng, n)).to(dtype)
        for share in SHARES:
            assert deviation(losses, p, share) <= SOLVER[dtype], (family, share)


@pytest.mark.parametrize("p", [1.0001, 1.3])
def test_ten_million_pixels_agree_with_the_oracle_in_float32(p: float) -> None:
    losses = LOSS_FAMILIES["lognormal"](np.random.default_rng(0), 10_000_000)
    assert deviation(torch.from_numpy(losses).float(), p, 0.25) <= SOLVER[torch.float32]


@pytest.mark.parametrize("p", P_VALUES)
def test_rows_are_solved_as_if_each_were_alone(p: float) -> None:
    rng = np.random.default_rng(3)
    rows = torch.stack([torch.from_numpy(g(rng, 300)).float() for g in LOSS_FAMILIES.values()])
    together, weights = solved(rows, p, 0.25)
    for i, row in enumerate(rows):
        alone, own = solved(row.unsqueeze(0), p, 0.25)
        assert together.value[i].item() == pytest.approx(alone.value[0].item(), rel=LAST_PLACES)
        off = (weights[i] - own[0]).abs().max().item()
        assert off <= LAST_PLACES * alone.cap.item()


@pytest.mark.parametrize("p", P_VALUES)
def test_masked_equals_sub_selected(p: float) -> None:
    rng = np.random.default_rng(4)
    losses = torch.from_numpy(rng.lognormal(size=(1, 500))).float()
    valid = torch.from_numpy(rng.random((1, 500)) < 0.4)
    masked, weights = solved(losses.where(valid, torch.nan), p, 0.25, valid)
    alone, own = solved(losses[valid].unsqueeze(0), p, 0.25)
    assert masked.value.item() == pytest.approx(alone.value.item(), rel=LAST_PLACES)
    off = (weights[valid] - own[0]).abs().max().item()
    assert off <= LAST_PLACES * alone.cap.item()
    assert not weights[~valid].any()


class Counting(Local):
    """A pool of one process that counts the reductions a pool of several would make."""

    def __init__(self) -> None:
        self.histograms = self.maxima = 0

    def sum(self, x: Tensor) -> Tensor:
        self.histograms += x.dim() == 2
        return x

    def max(self, x: Tensor) -> Tensor:
        self.maxima += 1
        return x


@pytest.mark.parametrize("family", MAPS)
def test_two_histograms_and_four_newton_steps_are_enough(family: str) -> None:
    losses = LOSS_FAMILIES[family](np.random.default_rng(0), 302_500)
    rows = torch.from_numpy(losses).float().unsqueeze(0)
    for p in P_VALUES[1:]:
        ranks = Counting()
        find_threshold(rows, None, WeightingSet(p, 0.25), ranks)
        assert 1 <= ranks.histograms <= 2, p
        # Two for the range of the losses, one more for the second histogram, then one a step.
        assert 1 <= ranks.maxima - 1 - ranks.histograms <= 4, p


def test_two_histograms_and_no_newton_step_select_at_p_1() -> None:
    ranks = Counting()
    losses = torch.rand(1, 1000, generator=torch.Generator().manual_seed(0))
    find_threshold(losses, None, WeightingSet(1.0, 0.25), ranks)
    assert (ranks.histograms, ranks.maxima) == (2, 2)


@pytest.mark.parametrize("family", list(LOSS_FAMILIES))
def test_a_fixed_number_of_steps_settles_what_the_host_may_not_watch(family: str) -> None:
    """The code path of a GPU: a fixed number of steps, without checking convergence."""
    losses = LOSS_FAMILIES[family](np.random.default_rng(1), 4000)
    rows = torch.from_numpy(losses).float().unsqueeze(0)
    m = torch.tensor([1000.0], dtype=torch.float64)
    for p in P_VALUES[1:]:
        arguments = (rows, WeightingSet(p, 0.25).q, m, rows.amax(1), Local())
        watched = module._root(*arguments, wait=True)
        fixed = module._root(*arguments, wait=False)
        for a, b in zip(watched, fixed, strict=True):
            torch.testing.assert_close(a, b, rtol=FLOAT64, atol=0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -1.0])
@pytest.mark.parametrize("p", P_VALUES)
def test_an_unsound_loss_makes_its_own_row_nan_and_no_other(p: float, bad: float) -> None:
    losses = torch.rand(3, 64, generator=torch.Generator().manual_seed(0))
    clean, _ = solved(losses, p, 0.25)
    losses[1, 5] = bad
    found, weights = solved(losses, p, 0.25)
    assert found.value.isnan().tolist() == [False, True, False]
    assert weights[1].isnan().all()
    assert found.value[[0, 2]].equal(clean.value[[0, 2]])


def test_negative_zero_is_zero() -> None:
    losses = torch.tensor([[-0.0, 0.0, 1.0, -0.0, 2.0]])
    for p in P_VALUES:
        found, weights = solved(losses, p, 0.25)
        plain, own = solved(losses.abs(), p, 0.25)
        assert found.value.equal(plain.value)
        assert weights.equal(own)


def test_extreme_magnitudes_stay_exact() -> None:
    base = LOSS_FAMILIES["lognormal"](np.random.default_rng(5), 400)
    for scale in (1e-300, 1e-30, 1e290):
        for p in P_VALUES:
            assert deviation(torch.from_numpy(base * scale), p, 0.25) <= SOLVER[torch.float64]


def test_rounding_cannot_keep_newton_going() -> None:
    """Nearly all pixels supported, all losses within a few units in the last place."""
    ulps = torch.arange(2000) % 5
    losses = (torch.ones(2000, dtype=torch.float64) + ulps * 2.0**-52).unsqueeze(0)
    for p in P_VALUES:
        for share in (0.9995, 0.99999, 1.0):
            found, weights = solved(losses, p, share)
            assert found.value.item() == pytest.approx(1.0, rel=NEAR_TIES)
            assert bool((weights <= found.cap * (1 + FLOAT64)).all())


@pytest.mark.parametrize("above_1", [1e-5, 1e-6, 1e-7, 1e-8])
def test_next_to_p_1_rounding_is_magnified_by_q_and_no_more(above_1: float) -> None:
    """The bound that docs/operator.md states."""
    rng = np.random.default_rng(7)
    for family, generate in LOSS_FAMILIES.items():
        losses = torch.from_numpy(generate(rng, 500))
        bound = max(SOLVER[torch.float64], WeightingSet(1 + above_1, 0.25).q * 2.0**-52)
        assert deviation(losses, 1 + above_1, 0.25) <= bound, family
