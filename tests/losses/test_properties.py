"""Theorems of loss max-pooling for arbitrary losses, checked on random ones."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lossmaxpool import MaxPoolingCrossEntropyLoss, MaxPoolingLoss
from lossmaxpool.paper import weighting_set
from tests.cases import IGNORE, LOSS_FAMILIES, P_VALUES
from tests.reference import assert_near, value_and_gradient
from tests.tolerances import FEASIBLE, SOLVER

few = settings(max_examples=25)
EXACT = SOLVER[torch.float64]


@dataclass(frozen=True)
class Case:
    """Losses (1, N) float64 and a loss module that max-pools them as they are."""

    losses: Tensor
    criterion: MaxPoolingLoss

    def value(self, losses: Tensor | None = None) -> Tensor:
        """L_W (Eq. 4)."""
        return self.solved(losses)[0]

    def weights(self, losses: Tensor | None = None) -> Tensor:
        """w*: the gradient of L_W with respect to the losses."""
        return self.solved(losses)[1]

    def solved(self, losses: Tensor | None = None) -> tuple[Tensor, Tensor]:
        losses = self.losses if losses is None else losses
        return value_and_gradient(self.criterion, losses, losses)

    @property
    def support(self) -> float:
        """m (Eq. 5)."""
        n = self.losses.numel()
        return min(max(self.criterion.min_support * n, 1.0), n)


def the_losses(losses: Tensor, _: Tensor) -> Tensor:
    return losses


@st.composite
def cases(draw: st.DrawFn) -> Case:
    generate = LOSS_FAMILIES[draw(st.sampled_from(sorted(LOSS_FAMILIES)))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    losses = torch.from_numpy(generate(rng, draw(st.integers(1, 200)))).unsqueeze(0)
    p = draw(st.sampled_from(P_VALUES))
    share = draw(st.sampled_from([1e-6, 1.0]) | st.floats(0.01, 1.0))
    return Case(losses, MaxPoolingLoss(the_losses, p=p, min_support=share))


@few
@given(cases())
def test_the_value_is_between_the_mean_and_the_largest_loss(case: Case) -> None:
    value = case.value()
    assert value >= case.losses.mean() * (1 - EXACT)
    assert value <= case.losses.max() * (1 + EXACT)


@few
@given(cases())
def test_the_weights_are_in_the_weighting_set(case: Case) -> None:
    weights = case.weights()[0]
    assert (weights >= 0).all()
    room = FEASIBLE[torch.float64]
    assert weighting_set.contains(weights.numpy(), case.criterion.p, case.support, rtol=room)


@few
@given(cases())
def test_the_value_is_the_weighted_sum(case: Case) -> None:
    value, weights = case.solved()
    assert_near((weights * case.losses).sum(), value, EXACT)


@few
@given(cases())
def test_higher_losses_never_weigh_less(case: Case) -> None:
    weights = case.weights()[0][case.losses[0].argsort()]
    assert (weights.diff() >= -EXACT * weights.max()).all()


@few
@given(cases(), st.floats(1e-6, 1e6))
def test_scaled_losses_scale_the_value_and_keep_the_weights(case: Case, factor: float) -> None:
    value, weights = case.solved()
    scaled_value, scaled_weights = case.solved(factor * case.losses)
    assert_near(scaled_value, factor * value, EXACT)
    assert_near(scaled_weights, weights, EXACT)


@few
@given(cases(), st.randoms(use_true_random=False))
def test_permuted_losses_permute_the_weights(case: Case, shuffler: random.Random) -> None:
    order = list(range(case.losses.numel()))
    shuffler.shuffle(order)
    value, weights = case.solved()
    permuted_value, permuted_weights = case.solved(case.losses[:, order])
    assert_near(permuted_value, value, EXACT)
    assert_near(permuted_weights, weights[:, order], EXACT)


@few
@given(cases(), st.integers(0, 2**32 - 1))
def test_higher_losses_never_lower_the_value(case: Case, seed: int) -> None:
    added = np.random.default_rng(seed).exponential(size=tuple(case.losses.shape))
    higher = case.losses + torch.from_numpy(added) * case.losses.max()
    assert case.value(higher) >= case.value() * (1 - EXACT)


@few
@given(cases(), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_value_is_convex_in_the_losses(case: Case, seed: int, at: float) -> None:
    """The value is a maximum of linear functions, hence convex."""
    other = torch.from_numpy(np.random.default_rng(seed).exponential(size=case.losses.shape))
    chord = at * case.value() + (1 - at) * case.value(other)
    assert case.value(at * case.losses + (1 - at) * other) <= chord * (1 + EXACT)


@few
@given(cases())
def test_full_support_is_the_mean(case: Case) -> None:
    case.criterion.min_support = 1.0
    assert_near(case.value(), case.losses.mean(), EXACT)


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from(P_VALUES), st.floats(0.01, 1.0))
def test_ignored_pixels_equal_selected_ones(seed: int, p: float, min_support: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(1, 4, 60, generator=generator, dtype=torch.float64)
    target = torch.randint(4, (1, 60), generator=generator)
    kept = torch.rand(60, generator=generator) < 0.5
    kept[0] = True
    criterion = MaxPoolingCrossEntropyLoss(p=p, min_support=min_support, ignore_index=IGNORE)
    value, gradient = value_and_gradient(criterion, logits, target.masked_fill(~kept, IGNORE))
    alone, own = value_and_gradient(criterion, logits[..., kept], target[:, kept])
    assert_near(value, alone, EXACT)
    assert_near(gradient[..., kept], own, EXACT)
    assert not gradient[..., ~kept].any()
