"""The whole loss through the kernels: what users call, against torch's own operations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lossmaxpool import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingCrossEntropyLoss,
    functional,
    loss_max_pool,
)
from lossmaxpool.ops import cross_entropy, max_pool
from tests.cases import IGNORE, labeled
from tests.reference import assert_near, value_and_gradient
from tests.tolerances import FROM_LOGITS

CRITERIA = {
    "plain": lambda kind: MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, backend=kind),
    "batch": lambda kind: MaxPoolingCrossEntropyLoss(
        p=1.7, min_support=0.1, ignore_index=IGNORE, pool="batch", backend=kind
    ),
    "world": lambda kind: MaxPoolingCrossEntropyLoss(
        ignore_index=IGNORE, pool="world", backend=kind
    ),
    "hardest": lambda kind: MaxPoolingCrossEntropyLoss(p=1.0, ignore_index=IGNORE, backend=kind),
    "smoothed": lambda kind: MaxPoolingCrossEntropyLoss(
        p=2.0,
        ignore_index=IGNORE,
        label_smoothing=0.1,
        weight=[1, 2, 0, 0.5, 1],
        reduction="none",
        backend=kind,
    ),
    "bootstrapped": lambda kind: BootstrappedCrossEntropyLoss(
        20, ignore_index=IGNORE, backend=kind
    ),
}


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("low", [(13, 17), (5, 6)], ids=["dense", "upsampled"])
def test_value_and_gradient(name: str, low: tuple[int, int], device: torch.device) -> None:
    logits, _ = labeled(2, 5, *low)
    _, target = labeled(2, 5, 13, 17, seed=1, ignored=0.3)
    logits, target = logits.to(device), target.to(device).to(torch.uint8)

    def criterion(kind: str) -> nn.Module:
        return CRITERIA[name](kind).to(device)

    ours = value_and_gradient(criterion("triton"), logits, target)
    truth = value_and_gradient(criterion("torch"), logits, target)
    for part, true_part in zip(ours, truth, strict=True):
        assert_near(part, true_part, FROM_LOGITS)


@pytest.mark.parametrize(("name", "low"), [("plain", (5, 6)), ("smoothed", (3, 2))])
def test_a_direct_call_has_the_bits_of_the_operators(
    name: str, low: tuple[int, int], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, _ = labeled(3, 5, *low)
    _, target = labeled(3, 5, 5, 6, seed=1, ignored=0.3)
    target[0] = IGNORE  # a mean over two images
    criterion = CRITERIA[name]("triton").to(device)
    tensors = logits.to(device), target.to(device)
    direct = value_and_gradient(criterion, *tensors)
    for module in (functional, cross_entropy):
        monkeypatch.setattr(module, "runs_directly", lambda *tensors: False)
    truth = value_and_gradient(criterion, *tensors)
    for part, true_part in zip(direct, truth, strict=True):
        torch.testing.assert_close(part, true_part, rtol=0, atol=0)


@pytest.mark.parametrize(("p", "reduction"), [(1.3, "mean"), (1.0, "sum"), (float("inf"), "none")])
def test_pixel_losses_have_the_bits_of_the_operators(
    p: float, reduction: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(3, 4, 9, generator=generator).to(device)
    valid = torch.rand(3, 4, 9, generator=generator).to(device) < 0.7
    valid[0] = False  # a mean over two images

    def both(mask: torch.Tensor | None) -> list[torch.Tensor]:
        leaf = losses.clone().requires_grad_()
        value = loss_max_pool(leaf, p=p, valid=mask, reduction=reduction, backend="triton")
        (value * torch.linspace(0.7, 1.9, value.numel(), device=device)).sum().backward()
        assert leaf.grad is not None
        return [value.detach(), leaf.grad]

    direct = [part for mask in (None, valid) for part in both(mask)]
    for module in (functional, max_pool):
        monkeypatch.setattr(module, "runs_directly", lambda *tensors: False)
    truth = [part for mask in (None, valid) for part in both(mask)]
    for part, true_part in zip(direct, truth, strict=True):
        torch.testing.assert_close(part, true_part, rtol=0, atol=0)
