"""Every backend is the same loss: value and gradient of the oracle on torch's losses."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import BootstrappedCrossEntropyLoss, MaxPoolingCrossEntropyLoss
from lossmaxpool.ops.dispatch import absence
from tests.cases import P_VALUES
from tests.losses.inputs import IGNORE, labelled
from tests.losses.oracle import assert_agree, assert_near, pooled, value_and_gradient
from tests.tolerances import FROM_LOGITS


@pytest.fixture(params=["torch", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    reason = absence(request.param)
    if reason is not None:
        pytest.skip(reason)
    return str(request.param)


def scores(logits: Tensor, target: Tensor) -> Tensor:
    if logits.shape[2:] == target.shape[1:]:
        return logits
    return F.interpolate(logits, size=target.shape[1:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("low", [(24, 40), (3, 5), (10, 12)])
def test_value_and_gradient_are_the_oracles(backend: str, p: float, low: tuple[int, int]) -> None:
    logits, _ = labelled(2, 19, *low)
    _, target = labelled(2, 19, 24, 40, seed=1, ignored=0.2)

    def truth(logits: Tensor, target: Tensor) -> Tensor:
        losses = F.cross_entropy(
            scores(logits.double(), target), target, ignore_index=IGNORE, reduction="none"
        )
        return pooled(losses, target != IGNORE, p=p).mean()

    ours = MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE, backend=backend)
    (value, gradient), (true_value, true_gradient) = (
        value_and_gradient(criterion, logits, target) for criterion in (ours, truth)
    )
    assert_near(value, true_value, FROM_LOGITS)
    # A pixel's weight is a power of its loss, 1 / (p - 1) times as sensitive as the loss.
    steep = 1.0 if p == 1 else max(1.0, 0.1 / (p - 1))
    assert_near(gradient, true_gradient.float(), FROM_LOGITS * min(steep, 100.0))


@pytest.mark.parametrize("pool", ["image", "batch", "world"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_pools_and_reductions_are_those_of_torch(backend: str, pool: str, reduction: str) -> None:
    inputs = labelled(3, 5, 9, 11, ignored=0.3)
    inputs[1][1] = IGNORE
    options = {"ignore_index": IGNORE, "pool": pool, "reduction": reduction, "label_smoothing": 0.1}
    weight = [1.0, 2.0, 0.0, 0.5, 1.0]
    ours, truth = (
        MaxPoolingCrossEntropyLoss(p=1.7, min_support=0.1, weight=weight, backend=kind, **options)
        for kind in (backend, "torch")
    )
    assert_agree(ours, truth, inputs, FROM_LOGITS)


def test_bootstrapping_too(backend: str) -> None:
    inputs = labelled(2, 5, 9, 11, ignored=0.3)
    ours, truth = (
        BootstrappedCrossEntropyLoss(20, ignore_index=IGNORE, backend=kind)
        for kind in (backend, "torch")
    )
    assert_agree(ours, truth, inputs, FROM_LOGITS)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("low", [(6, 8), (3, 4)])
def test_broken_logits_break_their_own_image_alone(
    backend: str, bad: float, low: tuple[int, int]
) -> None:
    logits, _ = labelled(2, 5, *low)
    _, target = labelled(2, 5, 6, 8, seed=1)
    logits[1, 2, 0, 0] = bad
    criterion = MaxPoolingCrossEntropyLoss(reduction="none", backend=backend)
    value, gradient = value_and_gradient(criterion, logits, target)
    assert value[1].isnan()
    assert value[0].isfinite()
    assert gradient[1].isnan().any()
    assert gradient[0].isfinite().all()


def test_the_same_bits_again(backend: str) -> None:
    logits, _ = labelled(2, 5, 8, 10)
    _, target = labelled(2, 5, 33, 41, seed=1)
    criterion = MaxPoolingCrossEntropyLoss(backend=backend)
    first = value_and_gradient(criterion, logits, target)
    for _ in range(5):
        again = value_and_gradient(criterion, logits, target)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_an_empty_batch_and_an_empty_image(backend: str) -> None:
    criterion = MaxPoolingCrossEntropyLoss(backend=backend)
    for shape in ((0, 5, 4, 6), (2, 5, 0, 6)):
        value, gradient = value_and_gradient(
            criterion, torch.zeros(shape), torch.zeros(shape[0], *shape[2:]).long()
        )
        assert value == 0
        assert gradient.shape == shape


@pytest.mark.parametrize("low", [1 << 20, 1 << 19])
def test_too_large_is_an_error_of_torch(backend: str, low: int) -> None:
    logits = torch.zeros(1).expand(1, 2, low, low).requires_grad_()
    target = torch.zeros(1, dtype=torch.uint8).expand(1, 1 << 20, 1 << 20)
    with pytest.raises(RuntimeError, match=r"allocate|memory"):
        MaxPoolingCrossEntropyLoss(backend=backend)(logits, target)
