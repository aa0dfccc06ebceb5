from __future__ import annotations

from typing import get_args

import pytest
import torch

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.runs.config import LossConfig, MethodId
from lossmaxpool.training.criteria import MeanCrossEntropyLoss
from lossmaxpool.training.methods import METHODS

CLASS_PIXELS = torch.tensor([[90, 10, 0], [60, 0, 40]])


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator).requires_grad_()
    target = torch.randint(3, (2, 16, 16), generator=generator)
    target[:, :3] = IGNORE_INDEX
    return logits, target


def test_every_method_of_the_configuration_exists() -> None:
    assert tuple(METHODS) == get_args(MethodId)
    assert all(method.id == key for key, method in METHODS.items())


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_low_resolution_logits_get_a_gradient(method: object) -> None:
    logits, target = batch()
    criterion = METHODS[method.id].build(LossConfig(bootstrap_k=16), CLASS_PIXELS)  # type: ignore[attr-defined]
    criterion(logits, target).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_an_ignored_batch_gives_zero(method: object) -> None:
    logits, target = batch()
    criterion = METHODS[method.id].build(LossConfig(bootstrap_k=16), CLASS_PIXELS)  # type: ignore[attr-defined]
    loss = criterion(logits, torch.full_like(target, IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_inverse_median_favours_the_rare_class() -> None:
    criterion = METHODS["inverse-median"].build(LossConfig(), CLASS_PIXELS)
    assert isinstance(criterion, MeanCrossEntropyLoss)
    assert criterion.weight is not None
    assert criterion.weight.argmax() == 1
