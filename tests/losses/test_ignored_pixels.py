"""Ignored pixels have no effect on n, m, the value or the gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
    OHEMCrossEntropyLoss,
)
from tests.cases import IGNORE, binary, labeled, padded
from tests.reference import Criterion, assert_near, value_and_gradient
from tests.tolerances import PADDING


def depth_loss(scores: Tensor, target: Tensor) -> Tensor:
    return F.smooth_l1_loss(scores, target.to(scores.dtype), reduction="none")


MULTICLASS: dict[str, Criterion] = {
    **{
        f"p={p}": MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE)
        for p in (1.0, 1.01, 1.3, float("inf"))
    },
    "batch": MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, pool="batch"),
    "smoothed": MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, label_smoothing=0.1),
    "weighted": MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, weight=[1, 0.2, 3, 1, 1]),
    "bootstrapped": BootstrappedCrossEntropyLoss(40, ignore_index=IGNORE),
    "mined": OHEMCrossEntropyLoss(0.7, 40, ignore_index=IGNORE),
    "weighted mined": OHEMCrossEntropyLoss(0.2, 40, ignore_index=IGNORE, weight=[1, 0.2, 3, 1, 1]),
}
BINARY: dict[str, Criterion] = {
    "binary": MaxPoolingBCEWithLogitsLoss(ignore_index=IGNORE),
    "smoothed binary": MaxPoolingBCEWithLogitsLoss(ignore_index=IGNORE, label_smoothing=0.1),
    "positives": MaxPoolingBCEWithLogitsLoss(ignore_index=IGNORE, pos_weight=[4.0]),
    "depth": MaxPoolingLoss(depth_loss, ignore_index=IGNORE),
}
CASES = [
    *(pytest.param(criterion, labeled(2, 5, 16, 18), id=n) for n, criterion in MULTICLASS.items()),
    *(pytest.param(criterion, binary(2, 16, 18), id=n) for n, criterion in BINARY.items()),
]


@pytest.mark.parametrize(("criterion", "inputs"), CASES)
@pytest.mark.parametrize("pixels", [1, 18, 500])
def test_padding_changes_neither_value_nor_gradient(
    criterion: Criterion, inputs: tuple[Tensor, Tensor], pixels: int
) -> None:
    width = inputs[1].shape[-1]
    value, gradient = value_and_gradient(criterion, *inputs)
    wider_value, wider_gradient = value_and_gradient(criterion, *padded(*inputs, pixels))
    assert_near(wider_value, value, PADDING)
    assert_near(wider_gradient[..., :width], gradient, PADDING)
    assert not wider_gradient[..., width:].any()


@pytest.mark.parametrize(("criterion", "inputs"), CASES)
def test_the_logits_of_ignored_pixels_are_not_read(
    criterion: Criterion, inputs: tuple[Tensor, Tensor]
) -> None:
    logits, target = padded(*inputs, 6)
    value, gradient = value_and_gradient(criterion, logits, target)
    logits[..., -6:] = 1e30
    other_value, other_gradient = value_and_gradient(criterion, logits, target)
    assert torch.equal(other_value, value)
    assert torch.equal(other_gradient, gradient)


@pytest.mark.parametrize(("criterion", "inputs"), CASES)
def test_everything_ignored_is_zero_with_zero_gradients(
    criterion: Criterion, inputs: tuple[Tensor, Tensor]
) -> None:
    logits, target = inputs
    value, gradient = value_and_gradient(criterion, logits, torch.full_like(target, IGNORE))
    assert value == 0
    assert not gradient.any()  # a NaN is true


@pytest.mark.parametrize(("criterion", "inputs"), CASES)
def test_an_image_that_is_all_ignored_does_not_count_in_the_mean(
    criterion: Criterion, inputs: tuple[Tensor, Tensor]
) -> None:
    logits, target = inputs
    empty = torch.full_like(target[:1], IGNORE)
    value, gradient = value_and_gradient(criterion, logits, target)
    more_value, more_gradient = value_and_gradient(
        criterion, torch.cat([logits, logits[:1]]), torch.cat([target, empty])
    )
    assert_near(more_value, value, PADDING)
    assert_near(more_gradient[:-1], gradient, PADDING)
    assert not more_gradient[-1].any()


def test_its_own_value_is_zero() -> None:
    logits, target = labeled(3, 5, 6, 7)
    target[1] = IGNORE
    values = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, reduction="none")(logits, target)
    assert (values == 0).tolist() == [False, True, False]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(0, 5, 6, 7), (2, 5, 0, 7)], ids=["no image", "no pixel"])
def test_nothing_at_all_is_zero(shape: tuple[int, ...], reduction: Any) -> None:
    logits = torch.zeros(shape, requires_grad=True)
    target = torch.zeros((shape[0], *shape[2:]), dtype=torch.long)
    value = MaxPoolingCrossEntropyLoss(reduction=reduction)(logits, target)
    value.sum().backward()
    assert not value.any()
    assert logits.grad is not None


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_logit_that_is_no_number_gives_no_plausible_value(wrong: float) -> None:
    logits, target = labeled(2, 5, 6, 7)
    logits[0, 2, 3, 3] = wrong
    assert MaxPoolingCrossEntropyLoss()(logits, target).isnan()
    assert BootstrappedCrossEntropyLoss()(logits, target).isnan()
