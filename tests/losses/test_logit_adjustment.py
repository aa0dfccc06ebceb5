"""LogitAdjustedLoss: log frequencies on the logits, before any loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool import LogitAdjustedLoss, MaxPoolingCrossEntropyLoss
from tests.cases import IGNORE, labeled
from tests.reference import assert_agree, assert_near
from tests.tolerances import DESCENT, FLOAT32, FROM_LOGITS

COUNTS = torch.tensor([[500, 200, 50, 7, 3], [100, 100, 30, 9, 1]])
CRITERIA = {
    "cross-entropy": nn.CrossEntropyLoss(ignore_index=IGNORE),
    "max-pooling": MaxPoolingCrossEntropyLoss(ignore_index=IGNORE),
    "top-k": MaxPoolingCrossEntropyLoss(p=1, pool="batch", ignore_index=IGNORE),
}


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", CRITERIA)
def test_the_formula_before_each_loss(name: str, tau: float) -> None:
    prior = COUNTS.sum(0) / COUNTS.sum()

    def formula(logits: Tensor, target: Tensor) -> Tensor:
        result: Tensor = CRITERIA[name](logits + tau * prior.log().view(5, 1, 1), target)
        return result

    ours = LogitAdjustedLoss(CRITERIA[name], COUNTS, tau=tau)
    assert_agree(ours, formula, labeled(2, 5, 9, 11, ignored=0.2), FROM_LOGITS)


def test_it_asks_for_the_margins_of_the_paper() -> None:
    """Menon et al. 2021, Eq. 11: softplus of the other logits, each by a factor of the priors."""
    logits, target = torch.randn(1, 2, 6, 6), torch.ones(1, 6, 6).long()
    gap = logits[:, 0] - logits[:, 1]
    expected = torch.log1p((90 / 10) ** 1.5 * gap.exp()).mean()
    ours = LogitAdjustedLoss(F.cross_entropy, [[90, 10]], tau=1.5)
    assert float(ours(logits, target)) == pytest.approx(float(expected), rel=FROM_LOGITS)


def test_it_commutes_with_the_upsampling_inside_the_loss() -> None:
    logits, target = labeled(2, 5, 4, 5)[0], labeled(2, 5, 16, 20, ignored=0.2)[1]
    ours = LogitAdjustedLoss(CRITERIA["max-pooling"], COUNTS)
    large = F.interpolate(logits, (16, 20), mode="bilinear", align_corners=False)
    assert_near(ours(logits, target), ours(large, target), FROM_LOGITS)


def test_the_optimum_without_the_adjustment_is_balanced() -> None:
    """Features that say nothing: the best logits are equal, however rare a class is."""
    target = torch.zeros(1, 1000).long()
    target[0, :50] = 1
    bias = torch.zeros(1, 2, 1, requires_grad=True)
    criterion = LogitAdjustedLoss(nn.CrossEntropyLoss(), [[950, 50]])
    descent = torch.optim.LBFGS([bias], max_iter=50)

    def closure() -> Tensor:
        descent.zero_grad()
        loss: Tensor = criterion(bias.expand(1, 2, 1000), target)
        loss.backward()
        return loss

    descent.step(closure)
    assert bias.flatten().diff().abs().item() < DESCENT


def test_a_class_without_a_pixel_counts_as_one_pixel() -> None:
    ours = LogitAdjustedLoss(nn.CrossEntropyLoss(), [[99, 0]])
    assert ours.log_prior.tolist() == pytest.approx([0.0, math.log(1 / 99)], rel=FLOAT32)


def test_half_precision_logits_are_adjusted_in_float32() -> None:
    logits, target = labeled(2, 5, 9, 11)
    criterion = LogitAdjustedLoss(MaxPoolingCrossEntropyLoss(), COUNTS)
    half = logits.bfloat16()
    assert float(criterion(half, target)) == float(criterion(half.float(), target))


def test_state_and_prior_travel_together() -> None:
    criterion = LogitAdjustedLoss(nn.CrossEntropyLoss(), COUNTS)
    other = LogitAdjustedLoss(nn.CrossEntropyLoss(), torch.ones_like(COUNTS))
    other.load_state_dict(criterion.state_dict())
    assert torch.equal(other.log_prior, criterion.log_prior)


@pytest.mark.parametrize("tau", [-1, math.inf, math.nan, "1", None])
def test_a_strength_that_is_none(tau: object) -> None:
    with pytest.raises(ValueError, match="tau must be a finite number >= 0, got"):
        LogitAdjustedLoss(nn.CrossEntropyLoss(), COUNTS, tau=tau)  # type: ignore[arg-type]
    criterion = LogitAdjustedLoss(nn.CrossEntropyLoss(), COUNTS)
    criterion.tau = tau  # type: ignore[assignment]
    with pytest.raises(ValueError, match="tau must be a finite number >= 0, got"):
        criterion(*labeled(1, 5, 2, 2))


def test_another_number_of_classes() -> None:
    criterion = LogitAdjustedLoss(nn.CrossEntropyLoss(), COUNTS)
    with pytest.raises(ValueError, match=r"\(1, 3, 4, 4\), but class_pixels counted 5 classes"):
        criterion(*labeled(1, 3, 4, 4))


@pytest.mark.parametrize("criterion", ["cross_entropy", None, 1.3])
def test_a_criterion_that_cannot_be_called(criterion: Callable[..., Tensor]) -> None:
    with pytest.raises(TypeError, match="criterion must be a module or a function"):
        LogitAdjustedLoss(criterion, COUNTS)
