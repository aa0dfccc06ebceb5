"""The functional interface: theorems as properties, gradients, contracts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lossmaxpool import Solution, loss_max_pool, solve
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.tolerances import FEASIBLE, FLOAT32, FLOAT64, GAP, LAST_PLACES, SOLVER

DTYPES = (torch.float64, torch.float32)


def maps(n: int = 400, dtype: torch.dtype = torch.float64) -> Tensor:
    """One image of every loss family, (B, n)."""
    rng = np.random.default_rng(11)
    rows = np.stack([generate(rng, n) for generate in LOSS_FAMILIES.values()])
    return torch.from_numpy(rows).to(dtype)


def distinct(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Losses well away from ties and from zero, where the value is differentiable."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.randperm(math.prod(shape), generator=generator) + 1.0
    return (steps / steps.numel()).view(shape).to(dtype) * 3


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("p", P_VALUES)
def test_the_solution_is_feasible_optimal_and_certified(p: float, dtype: torch.dtype) -> None:
    losses = maps(dtype=dtype)
    for share in (0.003, 0.25, 0.8, 1.0):
        found = solve(losses, p=p, min_support=share)
        weights, cap = found.weights.double(), found.weight_cap.double().unsqueeze(1)
        loose = 1 + FEASIBLE[dtype]
        assert bool((weights >= 0).all())
        assert bool((weights <= cap * loose).all())
        # The p-norm relative to the cap: powers of it alone would underflow at p = 100.
        relative = torch.linalg.vector_norm(weights / cap, ord=p, dim=1) * cap.squeeze(1)
        assert bool((relative <= found.norm_bound.double() * loose).all())
        value = found.value.double()
        attained = (weights * losses.double()).sum(1)
        torch.testing.assert_close(attained, value, rtol=SOLVER[dtype], atol=0)
        assert bool((found.duality_gap.double().abs() <= GAP[dtype] * value).all())
        assert bool((value >= losses.double().mean(1) * (1 - SOLVER[dtype])).all())


@pytest.mark.parametrize("p", P_VALUES)
def test_the_fields_of_a_solution_fit_together(p: float) -> None:
    losses = maps(300).view(-1, 10, 30)
    valid = torch.rand(losses.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    found = solve(losses, p=p, min_support=0.25, valid=valid)
    images = losses.shape[:1]
    for name in ("value", "threshold", "num_valid", "weight_cap", "norm_bound", "duality_gap"):
        assert getattr(found, name).shape == images, name
    for name in ("weights", "capped", "dual"):
        assert getattr(found, name).shape == losses.shape, name
    n = valid.flatten(1).sum(1)
    assert found.num_valid.equal(n)
    m = (0.25 * n).clamp(min=1)
    gamma = n.double() ** (1 / p - 1)
    torch.testing.assert_close(found.norm_bound, gamma)
    torch.testing.assert_close(found.weight_cap, gamma * m.double() ** (-1 / p))
    threshold = found.threshold.view(-1, 1, 1)
    assert found.capped.equal((losses > threshold) & valid)
    torch.testing.assert_close(found.dual, (losses - threshold).clamp(min=0) * valid)
    assert not found.weights[~valid].any()


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_p_1_averages_the_hardest_pixels_and_p_inf_all(share: float) -> None:
    losses = maps(400)
    m = int(share * 400)
    hardest = losses.sort(1, descending=True).values[:, :m].mean(1)
    found = loss_max_pool(losses, p=1.0, min_support=share, reduction="none")
    torch.testing.assert_close(found, hardest)
    found = loss_max_pool(losses, p=math.inf, min_support=share, reduction="none")
    torch.testing.assert_close(found, losses.mean(1))
    weights = solve(losses, p=math.inf, min_support=share).weights
    torch.testing.assert_close(weights, torch.full_like(losses, 1 / 400), rtol=FLOAT64, atol=0)


@pytest.mark.parametrize("p", P_VALUES)
def test_full_support_is_uniform_on_the_positive_losses(p: float) -> None:
    losses = maps()
    weights = solve(losses, p=p, min_support=1.0).weights
    torch.testing.assert_close(weights[losses > 0] * 400, torch.ones_like(losses[losses > 0]))


def test_the_value_falls_with_p_from_the_hardest_pixels_to_the_mean() -> None:
    values = torch.stack([loss_max_pool(maps(), p=p, reduction="none") for p in P_VALUES])
    assert bool((values[1:] <= values[:-1] * (1 + SOLVER[torch.float64])).all())


@pytest.mark.parametrize("p", P_VALUES)
def test_ties_share_evenly(p: float) -> None:
    losses = torch.tensor([[1.0, 3.0, 2.0, 3.0, 3.0, 1.0, 0.0]])
    weights = solve(losses, p=p, min_support=0.3).weights[0]
    for level in (1.0, 2.0, 3.0, 0.0):
        assert weights[losses[0] == level].unique().numel() == 1


@pytest.mark.parametrize("p", P_VALUES)
def test_the_gradient_is_the_optimal_weighting(p: float) -> None:
    losses = maps().requires_grad_()
    upstream = torch.linspace(-2, 3, losses.shape[0], dtype=torch.float64)
    values = loss_max_pool(losses, p=p, reduction="none")
    (gradient,) = torch.autograd.grad(values, losses, upstream)
    weights = solve(losses, p=p).weights
    torch.testing.assert_close(gradient, weights * upstream.unsqueeze(1), rtol=FLOAT64, atol=0)


@pytest.mark.parametrize("p", [1.0, 1.1, 1.3, 2.0, 4.0, math.inf])
def test_gradcheck_away_from_ties(p: float) -> None:
    losses = distinct(2, 7).requires_grad_()
    valid = torch.ones(2, 7, dtype=torch.bool)
    valid[0, 3] = False
    for pool in ("image", "batch"):
        assert torch.autograd.gradcheck(
            lambda x, pool=pool: loss_max_pool(x, p=p, min_support=0.3, valid=valid, pool=pool),
            losses,
        )


def test_a_second_derivative_is_refused() -> None:
    losses = distinct(1, 6).requires_grad_()
    (gradient,) = torch.autograd.grad(loss_max_pool(losses) ** 2, losses, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        gradient.sum().backward()


def test_pools_differ_in_what_shares_a_weighting() -> None:
    losses = maps(100)
    by_image = loss_max_pool(losses, reduction="none")
    assert by_image.shape == losses.shape[:1]
    torch.testing.assert_close(loss_max_pool(losses), by_image.mean())
    torch.testing.assert_close(loss_max_pool(losses, reduction="sum"), by_image.sum())
    whole = loss_max_pool(losses.reshape(1, -1))
    torch.testing.assert_close(loss_max_pool(losses, pool="batch"), whole)
    assert loss_max_pool(losses, pool="batch", reduction="none").numel() == 1
    # Without a process group the world is this process.
    torch.testing.assert_close(loss_max_pool(losses, pool="world"), whole)


@pytest.mark.parametrize("pool", ["image", "batch", "world"])
def test_nothing_valid_gives_zero_and_zero_gradients(pool: str) -> None:
    losses = torch.full((2, 3, 4), torch.nan, requires_grad=True)
    value = loss_max_pool(losses, valid=torch.zeros(2, 3, 4, dtype=torch.bool), pool=pool)
    value.backward()
    assert value.item() == 0
    assert losses.grad is not None
    assert losses.grad.equal(torch.zeros(2, 3, 4))


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (1, 1), (2, 1, 1, 1)])
def test_small_and_empty_shapes(shape: tuple[int, ...]) -> None:
    losses = torch.ones(shape, requires_grad=True)
    value = loss_max_pool(losses)
    value.backward()
    assert value.item() == (1 if losses.numel() else 0)
    assert losses.grad is not None
    assert losses.grad.shape == shape
    assert solve(losses).weights.shape == shape


def test_empty_images_leave_the_mean() -> None:
    losses = maps(50, torch.float32)
    valid = torch.ones_like(losses, dtype=torch.bool)
    valid[2] = False
    kept = [i for i in range(len(losses)) if i != 2]
    expected = loss_max_pool(losses[kept])
    assert loss_max_pool(losses, valid=valid).item() == pytest.approx(expected.item(), rel=FLOAT32)


@pytest.mark.parametrize("p", [1.0, 1.1, 1.3, 4.0, math.inf])
def test_ignored_pixels_do_not_exist(p: float) -> None:
    losses = maps(200, torch.float32)
    padding = torch.full((losses.shape[0], 777), 50.0)
    padded = torch.cat([padding, losses], dim=1).requires_grad_()
    valid = torch.arange(padded.shape[1]).ge(777).expand_as(padded)
    alone = losses.clone().requires_grad_()
    value, expected = loss_max_pool(padded, p=p, valid=valid), loss_max_pool(alone, p=p)
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=LAST_PLACES)
    assert padded.grad is not None
    torch.testing.assert_close(
        padded.grad[:, 777:], alone.grad, rtol=LAST_PLACES, atol=FEASIBLE[torch.float64]
    )
    assert not padded.grad[:, :777].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    losses = maps(300)[:2].to(dtype).requires_grad_()
    value = loss_max_pool(losses)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss_max_pool(losses.detach().float()).item(), rel=FLOAT32)
    assert losses.grad is not None
    assert losses.grad.dtype == dtype


def test_the_same_input_gives_the_same_bits() -> None:
    losses = maps(5000, torch.float32)
    first = solve(losses, p=1.3)
    for _ in range(5):
        again = solve(losses.clone(), p=1.3)
        assert again.value.equal(first.value)
        assert again.weights.equal(first.weights)


def test_strided_losses_need_no_copy_by_the_caller() -> None:
    losses = maps(64, torch.float32).view(-1, 8, 8)
    transposed = losses.mT
    torch.testing.assert_close(loss_max_pool(transposed), loss_max_pool(losses))
    torch.testing.assert_close(solve(transposed).weights, solve(losses).weights.mT)


def test_under_torch_compile_as_one_graph() -> None:
    losses = maps(100, torch.float32)
    valid = losses < 3

    def objective(x: Tensor, p: float) -> Tensor:
        return 2 * loss_max_pool(x * 1.5, p=p, valid=valid)

    compiled = torch.compile(objective, fullgraph=True, backend="aot_eager")
    for p in (1.3, 1.0, math.inf):
        a = losses.clone().requires_grad_()
        b = losses.clone().requires_grad_()
        compiled(a, p).backward()
        objective(b, p).backward()
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=LAST_PLACES, atol=0)


def test_function_transforms() -> None:
    losses = maps(60, torch.float32).unsqueeze(1).repeat(1, 2, 1)
    mapped = torch.vmap(loss_max_pool)(losses)
    torch.testing.assert_close(mapped, torch.stack([loss_max_pool(x) for x in losses]))
    per_sample = torch.vmap(torch.func.grad(loss_max_pool))(losses)
    torch.testing.assert_close(per_sample * 2, solve(losses.flatten(0, 1)).weights.view_as(losses))
    with pytest.raises(NotImplementedError, match="world"):
        torch.vmap(lambda x: loss_max_pool(x, pool="world"))(losses)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_finite_losses_come_out_as_nan_and_solve_names_them(bad: float) -> None:
    losses = torch.ones(2, 6)
    losses[1, 4] = bad
    assert loss_max_pool(losses).isnan()
    with pytest.raises(ValueError, match=r"^1 (NaN|infinite) among 12 losses.*image 1, pixel 4"):
        solve(losses)
    valid = torch.ones_like(losses, dtype=torch.bool)
    valid[1, 4] = False
    assert loss_max_pool(losses, valid=valid).item() == pytest.approx(1)
    assert solve(losses, valid=valid).value.tolist() == pytest.approx([1, 1])


def test_negative_losses_are_named() -> None:
    losses = torch.ones(2, 6)
    losses[0, :2] = -0.5
    for call in (solve, loss_max_pool):
        with pytest.raises(
            ValueError, match=r"2 negative among 12 losses: -0\.5 at image 0, pixel 0"
        ):
            call(losses)


@pytest.mark.parametrize("p", [0.99, -1, math.nan, "1.3", None])
def test_p_outside_its_range_is_refused(p: object) -> None:
    for call in (solve, loss_max_pool):
        with pytest.raises(ValueError, match=r"norm exponent in \[1, inf\], got"):
            call(torch.ones(1, 4), p=p)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, math.nan, "all"])
def test_min_support_outside_its_range_is_refused(share: object) -> None:
    for call in (solve, loss_max_pool):
        with pytest.raises(ValueError, match=r"min_support must be a share .* \(0, 1\], got"):
            call(torch.ones(1, 4), min_support=share)


def test_words_outside_their_choice_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"pool must be one of .*Did you mean 'image'"):
        loss_max_pool(torch.ones(1, 4), pool="images")
    with pytest.raises(ValueError, match="reduction must be one of"):
        loss_max_pool(torch.ones(1, 4), reduction="average")


def test_tensors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TypeError, match=r"losses must be floating, got torch.int64"):
        loss_max_pool(torch.ones(1, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="image dimension"):
        loss_max_pool(torch.tensor(1.0))
    with pytest.raises(TypeError, match=r"valid must be bool, got torch.uint8"):
        solve(torch.ones(1, 4), valid=torch.ones(1, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"valid has shape \(4,\), losses \(1, 4\)"):
        solve(torch.ones(1, 4), valid=torch.ones(4, dtype=torch.bool))


def test_solve_tracks_no_gradient() -> None:
    found = solve(distinct(1, 5).requires_grad_())
    assert isinstance(found, Solution)
    assert not found.weights.requires_grad
    assert not found.value.requires_grad
