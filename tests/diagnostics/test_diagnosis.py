"""diagnose: threshold, share of capped pixels, effective support, weight by class."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
    solve,
)
from lossmaxpool.diagnostics import diagnose, diagnose_losses
from tests.cases import IGNORE, P_VALUES, binary, labeled
from tests.reference import assert_near, value_and_gradient
from tests.tolerances import FLOAT32, FROM_LOGITS, SUMMED


@pytest.mark.parametrize("p", P_VALUES)
def test_what_solve_says(p: float) -> None:
    logits, target = labeled(3, 5, 9, 11, ignored=0.2)
    losses = F.cross_entropy(logits, target, reduction="none", ignore_index=IGNORE)
    valid = target != IGNORE
    truth = solve(losses, p=p, valid=valid)
    found = diagnose_losses(losses, p=p, valid=valid, labels=target, num_classes=5)
    w, n = truth.weights.double().flatten(1), valid.flatten(1).sum(1)
    assert torch.equal(found.num_valid, n)
    assert torch.equal(found.value, truth.value)
    assert torch.equal(found.threshold, truth.threshold)
    assert torch.equal(found.capped, truth.capped)
    assert torch.equal(found.excess, truth.dual)
    assert_near(found.capped_share, truth.capped.flatten(1).sum(1) / n, FLOAT32)
    assert_near(found.effective_support, w.sum(1) ** 2 / (w**2).sum(1) / n, FLOAT32)
    mean = torch.stack([image[mask].mean() for image, mask in zip(losses, valid, strict=True)])
    assert_near(found.mean, mean, FLOAT32)
    assert found.class_mass is not None
    assert found.class_share is not None
    for c in range(5):
        of_class = (target == c).flatten(1)
        assert_near(found.class_mass[:, c], (w * of_class).sum(1) / w.sum(1), FLOAT32)
        assert_near(found.class_share[:, c], of_class.sum(1) / n, FLOAT32)


@pytest.mark.parametrize(("p", "share"), [(1.0, 0.25), (math.inf, 1.0)])
def test_the_effective_support_at_both_ends(p: float, share: float) -> None:
    losses = 1 + torch.rand(2, 100, generator=torch.Generator().manual_seed(0))
    found = diagnose_losses(losses, p=p, min_support=0.25)
    assert found.effective_support.tolist() == pytest.approx([share, share], rel=SUMMED)


CRITERIA: dict[str, Any] = {
    "image": MaxPoolingCrossEntropyLoss(ignore_index=IGNORE),
    "batch": MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, pool="batch"),
    "weighted": MaxPoolingCrossEntropyLoss(
        ignore_index=IGNORE, weight=[1, 2, 3, 4, 5], label_smoothing=0.1
    ),
    "bootstrapped": BootstrappedCrossEntropyLoss(30, ignore_index=IGNORE),
    "world": MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, pool="world"),
}


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("low", [(9, 11), (4, 5)])
def test_the_weights_are_those_of_the_loss(name: str, low: tuple[int, int]) -> None:
    logits = labeled(2, 5, *low)[0]
    target = labeled(2, 5, 9, 11, ignored=0.2)[1]
    criterion = CRITERIA[name]
    found = diagnose(criterion, logits, target)
    assert float(found.value.mean()) == pytest.approx(float(criterion(logits, target)), rel=SUMMED)
    assert found.class_mass is not None
    assert found.class_mass.shape == (len(found.value), 5)
    assert_near(found.class_mass.sum(1), torch.ones(len(found.value)), FLOAT32)
    assert found.capped.shape == target.shape
    assert not found.capped[target == IGNORE].any()


def test_binary_losses_are_summed_by_label() -> None:
    scores, target = binary(2, 9, 11, ignored=0.2)
    criterion = MaxPoolingBCEWithLogitsLoss(ignore_index=IGNORE)
    found = diagnose(criterion, scores, target)
    assert float(found.value.mean()) == pytest.approx(float(criterion(scores, target)), rel=SUMMED)
    assert found.class_mass is not None
    assert found.class_mass.shape == (2, 2)


def test_losses_of_anything() -> None:
    criterion = MaxPoolingLoss(nn.L1Loss(reduction="none"), ignore_index=-1)
    x, y = torch.rand(2, 6, 7), torch.rand(2, 6, 7)
    y[0, 0] = -1
    segments = torch.arange(42).view(6, 7).expand(2, 6, 7) // 21
    found = diagnose(criterion, x, y, labels=segments)
    assert float(found.value.mean()) == pytest.approx(float(criterion(x, y)), rel=SUMMED)
    assert found.num_valid.tolist() == [35, 42]
    assert found.class_mass is not None
    assert found.class_mass.shape == (2, 2)


def test_a_class_with_higher_losses_gains() -> None:
    logits, target = labeled(2, 5, 16, 16, margin=6.0)
    of_rare = (target == 4).unsqueeze(1) & (torch.arange(5).view(5, 1, 1) == 4)
    logits = logits - 5.0 * of_rare
    gain = diagnose(MaxPoolingCrossEntropyLoss(), logits, target).class_gain()
    assert gain[4] > 1.5
    assert bool((gain[:4] < 1).all())


def test_an_image_without_a_valid_pixel_is_zero_and_no_part_of_the_scalars() -> None:
    logits, target = labeled(2, 5, 9, 11)
    alone = diagnose(MaxPoolingCrossEntropyLoss(), logits[:1], target[:1]).scalars()
    target[1] = -100
    found = diagnose(MaxPoolingCrossEntropyLoss(), logits, target)
    assert found.num_valid.tolist() == [99, 0]
    assert found.effective_support[1] == found.capped_share[1] == found.value[1] == 0
    assert found.class_mass is not None
    assert not found.class_mass.isnan().any()
    assert found.scalars() == pytest.approx(alone, rel=FROM_LOGITS)


def test_diagnosing_leaves_the_gradient_alone() -> None:
    inputs = labeled(2, 5, 9, 11)
    criterion = MaxPoolingCrossEntropyLoss()
    before = value_and_gradient(criterion, *inputs)

    def looked_at(logits: Tensor, target: Tensor) -> Tensor:
        assert not diagnose(criterion, logits, target).value.requires_grad
        result: Tensor = criterion(logits, target)
        return result

    for ours, truth in zip(value_and_gradient(looked_at, *inputs), before, strict=True):
        assert torch.equal(ours, truth)


def test_a_loss_that_pools_nothing() -> None:
    with pytest.raises(TypeError, match="CrossEntropyLoss pools no pixel losses: pass a loss of"):
        diagnose(nn.CrossEntropyLoss(), *labeled(1, 3, 4, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": torch.zeros(1, 4).long()}, "belong together, got labels and num_classes=None"),
        ({"num_classes": 3}, "belong together, got no labels and num_classes=3"),
        ({"labels": torch.zeros(1, 5).long(), "num_classes": 3}, r"shape \(1, 5\), the losses"),
    ],
)
def test_labels_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diagnose_losses(torch.rand(1, 4), **options)


def test_no_labels_no_gain() -> None:
    with pytest.raises(ValueError, match="the diagnosis holds no labels"):
        diagnose_losses(torch.rand(1, 4)).class_gain()
