"""The native solver against the oracle."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from torch import Tensor

from lossmaxpool.ops.backends.native import solve, weigh
from lossmaxpool.ops.backends.threshold import optimal_weights, unpack
from lossmaxpool.ops.weighting_set import WeightingSet
from lossmaxpool.paper import theorems
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.tolerances import SOLVER

SHARES = (1e-9, 0.25, 0.97, 1.0)
TOLERANCE = SOLVER[torch.float32]


def drawn(family: str, n: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(LOSS_FAMILIES[family](np.random.default_rng(seed), n)).float()


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("family", LOSS_FAMILIES)
def test_value_and_weights_agree_with_the_oracle(family: str, p: float) -> None:
    for n in (1, 2, 7, 100, 3000, 20_000):
        losses = drawn(family, n).unsqueeze(0)
        for share in SHARES:
            weighting = WeightingSet(p, share)
            packed = solve(losses, None, weighting, False)
            found = unpack(packed)
            truth = theorems.solve(losses[0].double().numpy(), p, min(max(share * n, 1.0), n))
            weights = optimal_weights(losses, None, packed, weighting)[0].double().numpy()
            assert found.value.item() == pytest.approx(truth.value, rel=TOLERANCE), (n, share)
            assert np.abs(weights - truth.weights).max() <= TOLERANCE * found.cap.item(), (n, share)


@pytest.mark.parametrize("scale", [1e-36, 1e-30, 1e30])
def test_the_value_scales_with_the_losses(scale: float) -> None:
    losses = drawn("exponential", 5000).unsqueeze(0)
    value = solve(losses, None, WeightingSet(1.3, 0.25), False)[0].item()
    scaled = solve(losses.double().mul(scale).float(), None, WeightingSet(1.3, 0.25), False)[
        0
    ].item()
    assert scaled == pytest.approx(scale * value, rel=TOLERANCE)


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("step", [1, 37, 1 << 15])
def test_neighboring_losses_are_told_apart(p: float, step: int) -> None:
    """All losses in one or two bins of the first histogram, with ties."""
    steps = step * torch.randint(0, 9, (4000,), generator=torch.Generator().manual_seed(0))
    losses = (torch.tensor(0x3F800000) + steps).int().view(torch.float32).unsqueeze(0)
    found = unpack(solve(losses, None, WeightingSet(p, 0.25), False))
    truth = theorems.solve(losses[0].double().numpy(), p, 1000.0)
    assert found.value.item() == pytest.approx(truth.value, rel=TOLERANCE)


@pytest.mark.parametrize("p", P_VALUES)
def test_masked_and_marked_losses_do_not_exist(p: float) -> None:
    losses = drawn("trained_ce", 9000)
    valid = torch.rand(9000, generator=torch.Generator().manual_seed(1)) < 0.7
    masked = losses.masked_fill(~valid, math.nan).unsqueeze(0)
    marked = losses.masked_fill(~valid, -1.0).unsqueeze(0)
    expected = solve(losses[valid].unsqueeze(0), None, WeightingSet(p, 0.25), False)
    for found in (
        solve(masked, valid.unsqueeze(0), WeightingSet(p, 0.25), False),
        solve(marked, None, WeightingSet(p, 0.25), True),
    ):
        torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf, -1.0])
def test_an_unsound_loss_makes_its_row_nan_and_no_other(bad: float, p: float) -> None:
    losses = drawn("exponential", 200).view(2, 100)
    losses[1, 50] = bad
    value = solve(losses, None, WeightingSet(p, 0.25), False)[0]
    assert value.isnan().tolist() == [False, True]


def test_nan_exists_among_marked_losses() -> None:
    losses = torch.tensor([[1.0, -1.0, math.nan]])
    assert solve(losses, None, WeightingSet(1.3, 0.25), True)[0].isnan().all()


@pytest.mark.parametrize("p", P_VALUES)
def test_no_pixel_and_no_positive_loss(p: float) -> None:
    nothing = solve(torch.full((1, 5), -1.0), None, WeightingSet(p, 0.25), True)
    assert nothing.count_nonzero() == 0
    assert solve(torch.empty(1, 0), None, WeightingSet(p, 0.25), False).count_nonzero() == 0
    zeros = unpack(solve(torch.tensor([[0.0, -0.0, 0.0]]), None, WeightingSet(p, 0.25), False))
    assert zeros.value.item() == 0
    assert zeros.alpha.item() == 0
    assert zeros.num_valid.item() == 3


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_same_bits_for_any_number_of_threads(
    rows: int, p: float, threads: Callable[[int], AbstractContextManager[None]]
) -> None:
    losses = drawn("lognormal", 900_000).view(rows, -1)
    found = []
    for number in (1, 2, 3):
        with threads(number):
            found.append(solve(losses, None, WeightingSet(p, 0.25), False))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("masked", [False, True])
def test_weights_of_given_losses_are_those_of_torch(p: float, masked: bool) -> None:
    losses = torch.stack([drawn("trained_ce", 5000, seed) for seed in range(3)])
    valid = None
    if masked:
        valid = torch.rand(losses.shape, generator=torch.Generator().manual_seed(0)) < 0.7
        losses[~valid] = math.nan
    packed = solve(losses, valid, WeightingSet(p, 0.25), False)
    ours = weigh(losses, valid, packed, WeightingSet(p, 0.25))
    truth = optimal_weights(losses, valid, packed, WeightingSet(p, 0.25))
    torch.testing.assert_close(ours, truth, rtol=0, atol=TOLERANCE * float(truth.max()))
    losses[1, 7] = math.nan
    if valid is not None:
        valid[1, 7] = True
    broken = weigh(
        losses, valid, solve(losses, valid, WeightingSet(p, 0.25), False), WeightingSet(p, 0.25)
    )
    exists = torch.ones(losses.shape[1], dtype=torch.bool) if valid is None else valid[1]
    assert broken[1][exists].isnan().all()
    assert not broken[1][~exists].any()
    assert torch.equal(broken[0], ours[0])
