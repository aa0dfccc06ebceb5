"""Every backend is the same loss: value and gradient of the oracle on torch's losses."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import BootstrappedCrossEntropyLoss, MaxPoolingCrossEntropyLoss, solve
from lossmaxpool.ops.dispatch import absence
from lossmaxpool.paper import theorems
from tests.cases import IGNORE, P_VALUES, labeled
from tests.reference import assert_agree, assert_near, pooled, value_and_gradient
from tests.tolerances import FROM_LOGITS, SOLVER


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
    logits, _ = labeled(2, 19, *low)
    _, target = labeled(2, 19, 24, 40, seed=1, ignored=0.2)

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
    inputs = labeled(3, 5, 9, 11, ignored=0.3)
    inputs[1][1] = IGNORE
    options = {"ignore_index": IGNORE, "pool": pool, "reduction": reduction, "label_smoothing": 0.1}
    weight = [1.0, 2.0, 0.0, 0.5, 1.0]
    ours, truth = (
        MaxPoolingCrossEntropyLoss(p=1.7, min_support=0.1, weight=weight, backend=kind, **options)
        for kind in (backend, "torch")
    )
    assert_agree(ours, truth, inputs, FROM_LOGITS)


def test_bootstrapping_too(backend: str) -> None:
    inputs = labeled(2, 5, 9, 11, ignored=0.3)
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
    logits, _ = labeled(2, 5, *low)
    _, target = labeled(2, 5, 6, 8, seed=1)
    logits[1, 2, 0, 0] = bad
    criterion = MaxPoolingCrossEntropyLoss(reduction="none", backend=backend)
    value, gradient = value_and_gradient(criterion, logits, target)
    assert value[1].isnan()
    assert value[0].isfinite()
    assert gradient[1].isnan().any()
    assert gradient[0].isfinite().all()


def test_the_same_bits_again(backend: str) -> None:
    logits, _ = labeled(2, 5, 8, 10)
    _, target = labeled(2, 5, 33, 41, seed=1)
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


@pytest.mark.parametrize("p", [10.0, 100.0, 1000.0])
def test_losses_far_below_the_threshold_weigh_what_the_documentation_says(
    backend: str, p: float
) -> None:
    """Ratios below the smallest normal number: exact in torch, bounded in the kernels."""
    rng = torch.Generator().manual_seed(0)
    losses = 1e5 * torch.rand(300, generator=rng)
    losses[:5] = torch.tensor([1e-38, 1e-39, 1e-40, 1e-42, 1e-44])
    found = solve(losses.unsqueeze(0), p=p, min_support=0.9, backend=backend)  # type: ignore[arg-type]
    truth = theorems.solve(losses.double().numpy(), p, 270.0)
    cap = found.weight_cap.item()
    off = (found.weights[0].double() - torch.from_numpy(truth.weights)).abs() / cap
    normal = losses >= 2.0**-126 * found.threshold
    assert off[normal].max() <= SOLVER[torch.float32]
    assert 0 < normal.sum() < 300
    if backend == "torch":
        assert off.max() <= SOLVER[torch.float32]
    else:
        largest = (2.0**-126) ** (1 / (p - 1)) * (1 + SOLVER[torch.float32])
        assert bool((found.weights[0][~normal] / cap <= largest).all())
