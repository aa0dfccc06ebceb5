from __future__ import annotations

import pytest
import torch

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.runs.config import LossConfig
from lossmaxpool.runs.methods import METHODS, Method, method_named, ready
from lossmaxpool.training.criteria import MeanCrossEntropyLoss
from lossmaxpool.training.methods import build_criterion

CLASS_PIXELS = torch.tensor([[90, 10, 0], [60, 0, 40]])


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator).requires_grad_()
    target = torch.randint(3, (2, 16, 16), generator=generator)
    target[:, :3] = IGNORE_INDEX
    return logits, target


ALL = [*METHODS.values(), *(method_named(name, {}) for name in ready())]
of_every_method = pytest.mark.parametrize("method", ALL, ids=[method.id for method in ALL])


def test_ids_and_labels_are_distinct() -> None:
    assert all(method.id == key for key, method in METHODS.items())
    assert len({method.label for method in ALL}) == len({method.id for method in ALL}) == len(ALL)


@of_every_method
def test_low_resolution_logits_get_a_gradient(method: Method) -> None:
    logits, target = batch()
    criterion = build_criterion(method.criterion, LossConfig(bootstrap_k=16), CLASS_PIXELS)
    criterion(logits, target).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


@of_every_method
def test_an_ignored_batch_gives_zero(method: Method) -> None:
    logits, target = batch()
    criterion = build_criterion(method.criterion, LossConfig(bootstrap_k=16), CLASS_PIXELS)
    loss = criterion(logits, torch.full_like(target, IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_inverse_median_favours_the_rare_class() -> None:
    criterion = build_criterion(METHODS["inverse-median"].criterion, LossConfig(), CLASS_PIXELS)
    assert isinstance(criterion, MeanCrossEntropyLoss)
    assert criterion.weight is not None
    assert criterion.weight.argmax() == 1
