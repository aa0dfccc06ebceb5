"""Thresholds, values and weights against the oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lossmaxpool.ops.backends.triton import kernels, solver
from lossmaxpool.ops.weighting_set import WeightingSet
from lossmaxpool.paper import theorems
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.tolerances import FLOAT64, LAST_PLACES, SMALLEST, SOLVER

TOLERANCE = SOLVER[torch.float32]


def draw(n: int, families: tuple[str, ...] = tuple(LOSS_FAMILIES)) -> Tensor:
    """(R, N) float32 losses, one family a row."""
    rows = [LOSS_FAMILIES[name](np.random.default_rng(n), n) for name in families]
    return torch.from_numpy(np.stack(rows)).float()


def weights(losses: Tensor, packed: Tensor, p: float) -> Tensor:
    """w* as computed by the gradient kernel.

    Two equal logits of weight 1 have a loss of slope 1/2, independent of ``losses``.
    """
    rows, n = losses.shape
    logits = torch.zeros(rows, 2, n, device=losses.device)
    target = torch.ones(rows, n, dtype=torch.uint8, device=losses.device)
    ones = torch.ones(2, device=losses.device)
    outer = torch.ones(rows, device=losses.device)
    return (
        2
        * kernels.gradient(
            outer, logits, target, ones, losses, packed, 255, 0.0, WeightingSet(p, 0.25)
        )[:, 0]
    )


def check(losses: Tensor, p: float, fraction: float, device: torch.device) -> None:
    n = losses.shape[1]
    m = min(max(fraction * n, 1.0), n)
    there = losses.to(device)
    packed = kernels.solve(there, None, WeightingSet(p, fraction), False)
    ours = weights(there, packed, p).cpu()
    for row, w, numbers in zip(losses.double(), ours, packed.cpu().T, strict=True):
        truth = theorems.solve(row.numpy(), p, m)
        expected = torch.from_numpy(truth.weights)
        value = float((expected * row).sum())
        cap = float(numbers[2])
        assert float(numbers[0]) == pytest.approx(value, rel=TOLERANCE)
        assert cap == pytest.approx((n / m) ** (1 / p) / n, rel=FLOAT64)
        assert (float(numbers[4]), float(numbers[5])) == (n, pytest.approx(m, rel=FLOAT64))
        torch.testing.assert_close(w.double(), expected, rtol=0, atol=TOLERANCE * cap)


def test_weights_of_losses_and_of_logits_agree(device: torch.device) -> None:
    losses = draw(200).to(device)
    valid = torch.rand(losses.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    for p in (1.0, 1.0001, 1.3, float("inf")):
        packed = kernels.solve(losses, valid.to(device), WeightingSet(p, 0.25), False)
        ours = kernels.weigh(losses, valid.to(device), packed, WeightingSet(p, 0.25)).cpu()
        assert (ours[~valid] == 0).all()
        expected = weights(losses, packed, p).cpu()[valid]
        tiny = torch.finfo(torch.float32).tiny  # half of a subnormal weight is rounded
        torch.testing.assert_close(ours[valid], expected, rtol=LAST_PLACES, atol=tiny)


def test_weights_of_an_unsound_row_are_nan(device: torch.device) -> None:
    losses = draw(50, ("lognormal", "lognormal"))
    losses[1, 17] = math.nan
    for p in (1.0, 1.3, float("inf")):
        packed = kernels.solve(losses.to(device), None, WeightingSet(p, 0.25), False)
        ours = kernels.weigh(losses.to(device), None, packed, WeightingSet(p, 0.25)).cpu()
        assert ours[0].isfinite().all()
        assert ours[1].isnan().all()


@pytest.mark.parametrize("p", P_VALUES)
def test_against_the_oracle(p: float, device: torch.device) -> None:
    check(draw(700), p, 0.25, device)


@pytest.mark.parametrize("p", [1.0, 1.3])
@pytest.mark.parametrize("fraction", [0.0, 0.013, 0.5, 1.0])
def test_any_support(fraction: float, p: float, device: torch.device) -> None:
    check(draw(300, ("lognormal", "ties", "zeros")), p, fraction, device)


@pytest.mark.parametrize("p", [1.0, 1.0001, 1.3])
def test_several_programs_a_row(
    p: float, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(draw(9001, ("trained_ce",)), p, 0.25, device)
    monkeypatch.setattr(solver, "_PER_ROW", 2)  # as millions of losses: several blocks a program
    check(draw(9001, ("overfit_ce", "constant")), p, 0.25, device)


@pytest.mark.parametrize("p", [1.0, 1.3, 100.0])
def test_rows_of_which_too_many_losses_are_near_the_threshold(
    p: float, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two programs with room for a sixth: no pass, one pass, or every pass reads the row again."""
    monkeypatch.setattr(solver, "_PER_ROW", 2)
    monkeypatch.setattr(solver, "KEPT", 6)
    monkeypatch.setattr(solver, "BLOCK", 256)
    monkeypatch.setattr(solver, "solver", solver.solver.__wrapped__)
    n = 6 * 2 * solver.BLOCK - 5
    spread = torch.linspace(1, 1.9, n)
    some = spread.clone()
    some[: n // 2] = 0.01 * spread[: n // 2]
    zeros = torch.zeros(n)
    zeros[0] = 1
    rows = torch.stack([draw(n, ("lognormal",))[0], spread, some, torch.full((n,), 0.7), zeros])
    check(rows[:, torch.randperm(n, generator=torch.Generator().manual_seed(0))], p, 0.25, device)


@pytest.mark.parametrize("p", [1.0, 1.3])
@pytest.mark.parametrize("n", [1, 2])
def test_hardly_any_pixels(n: int, p: float, device: torch.device) -> None:
    check(draw(n, ("lognormal", "ties")), p, 0.25, device)


def test_extreme_losses(device: torch.device) -> None:
    losses = torch.tensor([[1e38, 3e38, 1e-30, 0.0], [1e-44, 3e-42, 0.0, 1e-45], [0.0] * 4])
    packed = kernels.solve(losses.to(device), None, WeightingSet(1.3, 0.25), False).cpu()
    for row, value in zip(losses.double().numpy(), packed[0], strict=True):
        truth = float((theorems.solve(row, 1.3, 1.0).weights * row).sum())
        assert float(value) == pytest.approx(truth, rel=TOLERANCE, abs=SMALLEST)


@pytest.mark.parametrize("p", [1.0, 1.3])
@pytest.mark.parametrize("marked", [True, False])
def test_pixels_that_do_not_exist(marked: bool, p: float, device: torch.device) -> None:
    losses = draw(600, ("lognormal",))
    valid = torch.rand(1, 600, generator=torch.Generator().manual_seed(1)) < 0.6
    holes = losses.where(valid, -1.0 if marked else float("nan")).to(device)
    mask = None if marked else valid.to(device)
    packed = kernels.solve(holes, mask, WeightingSet(p, 0.25), marked)
    alone = kernels.solve(losses[valid].view(1, -1).to(device), None, WeightingSet(p, 0.25), False)
    torch.testing.assert_close(packed, alone, rtol=SOLVER[torch.float64], atol=0)


@pytest.mark.parametrize("p", [1.0, 1.3])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.5])
def test_unsound_rows_are_nan_and_others_are_not(
    bad: float, p: float, device: torch.device
) -> None:
    losses = draw(50, ("lognormal", "lognormal"))
    losses[1, 17] = bad
    value = kernels.solve(losses.to(device), None, WeightingSet(p, 0.25), False)[0].cpu()
    assert value[0].isfinite()
    assert value[1].isnan()


@pytest.mark.parametrize("p", [1.0, 1.3])
@pytest.mark.parametrize("n", [0, 5])
def test_a_pool_without_pixels_is_zero(n: int, p: float, device: torch.device) -> None:
    packed = kernels.solve(
        torch.full((2, n), -1.0, device=device), None, WeightingSet(p, 0.25), True
    )
    assert (packed == 0).all()


def test_no_rows(device: torch.device) -> None:
    assert kernels.solve(
        torch.empty(0, 5, device=device), None, WeightingSet(1.3, 0.25), True
    ).shape == (
        6,
        0,
    )


def test_minus_zero_is_zero(device: torch.device) -> None:
    losses = draw(40, ("zeros",)).to(device)
    negated = torch.where(losses == 0, -losses, losses)
    one, other = (kernels.solve(x, None, WeightingSet(1.3, 0.9), False) for x in (losses, negated))
    assert torch.equal(one, other)
