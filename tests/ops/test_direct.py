"""Eager calls bypass the operators, with the same bits; whatever needs an operator gets one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from lossmaxpool import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingCrossEntropyLoss,
    functional,
    loss_max_pool,
)
from lossmaxpool.ops import cross_entropy, max_pool
from lossmaxpool.ops.dispatch import absence
from lossmaxpool.ops.max_pool import runs_directly
from tests.cases import IGNORE, labeled

BACKENDS = [name for name in ("torch", "native") if absence(name) is None]
REDUCTIONS = ["none", "sum", "mean"]


@pytest.fixture
def by_operators(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it to make all later calls go through the operators."""

    def force() -> None:
        for module in (functional, max_pool, cross_entropy):
            monkeypatch.setattr(module, "runs_directly", lambda *tensors: False)

    return force


def run(loss: Callable[[Tensor], Tensor], leaf: Tensor) -> tuple[Tensor, Tensor]:
    """The value, and the gradient of an uneven sum of its elements."""
    leaf = leaf.detach().requires_grad_()
    value = loss(leaf)
    outer = torch.linspace(0.7, 1.9, value.numel(), dtype=value.dtype, device=value.device)
    outer = outer.view(value.shape)
    (grad,) = torch.autograd.grad(value, leaf, outer)
    return value.detach(), grad


def check_same_bits(
    losses: list[Callable[[Tensor], Tensor]], leaf: Tensor, force: Callable[[], None]
) -> None:
    direct = [run(loss, leaf) for loss in losses]
    force()
    for loss, found in zip(losses, direct, strict=True):
        for one, other in zip(found, run(loss, leaf), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def layouts(batch: int) -> list[tuple[Tensor, Tensor]]:
    """Logits and targets: dense, broken strides, channels last, upsampled, half, empty pools."""
    logits, target = labeled(batch, 5, 9, 14, ignored=0.2)
    _, large = labeled(batch, 5, 18, 40, ignored=0.2)
    empty = target.clone()
    empty[0] = IGNORE
    last = logits.contiguous(memory_format=torch.channels_last)
    return [
        (logits, target),
        (logits, empty),
        (logits, torch.full_like(target, IGNORE)),
        (last, target),
        (logits[:, :, 1:-2, 2:-1], target[:, 1:-2, 2:-1]),
        (logits, large),
        (logits.bfloat16(), target.to(torch.uint8)),
    ]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_cross_entropy_has_the_same_bits(
    batch: int, backend: str, by_operators: Callable[[], None]
) -> None:
    cases: list[tuple[Any, Tensor, Tensor]] = []
    for logits, target in layouts(batch):
        for p, pool, reduction in [(1.3, "image", one) for one in REDUCTIONS] + [
            (1.0 if backend == "native" else 4.0, "batch", "mean")
        ]:
            options = {"pool": pool, "reduction": reduction, "backend": backend}
            loss = MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE, **options)
            cases.append((loss, logits, target))
        weighted = MaxPoolingCrossEntropyLoss(
            weight=[1, 2, 0, 4, 5], label_smoothing=0.1, ignore_index=IGNORE, backend=backend
        )
        cases.append((weighted, logits, target))
        if backend == "native":  # an order statistic takes torch long
            hardest = BootstrappedCrossEntropyLoss(k=7, ignore_index=IGNORE, backend=backend)
            cases.append((hardest, logits, target))
    direct = [run(lambda x, c=case: c[0](x, c[2]), case[1]) for case in cases]
    by_operators()
    for case, found in zip(cases, direct, strict=True):
        again = run(lambda x, c=case: c[0](x, c[2]), case[1])
        for one, other in zip(found, again, strict=True):
            assert one.stride() == other.stride()
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 5, 65])
def test_pixel_losses_have_the_same_bits(
    rows: int, dtype: torch.dtype, backend: str, by_operators: Callable[[], None]
) -> None:
    if backend == "native" and dtype == torch.float64:
        pytest.skip("the native solver refuses float64")
    generator = torch.Generator().manual_seed(rows)
    leaf = torch.rand(rows, 30, generator=generator).to(dtype)
    valid = torch.rand(rows, 30, generator=generator) < 0.6
    valid[0] = False
    losses = [
        lambda x, p=p, r=r, v=v: loss_max_pool(x, p=p, valid=v, reduction=r, backend=backend)
        for p, r, v in [(4.0, "sum", None), (1.3, "mean", valid), (float("inf"), "none", valid)]
    ]
    check_same_bits(losses, leaf, by_operators)


def test_a_change_between_two_calls_is_seen() -> None:
    """Nothing that one call prepares may serve another that differs in its form."""
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)
    logits, target = labeled(2, 5, 9, 14, ignored=0.2)
    truth, gradient = run(lambda x: criterion(x, target), logits)
    wide = torch.zeros(2, 5, 9, 28)
    forms = [
        (logits, target),
        (wide[..., ::2].copy_(logits), target),
        (logits.contiguous(memory_format=torch.channels_last), target),
        (logits, target.to(torch.uint8)),
        (logits, target.to(torch.int16)),
        (logits, target.mT.contiguous().mT),
    ]
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 1):
            torch.set_num_threads(number)
            for scores, labels in forms:
                value, found = run(lambda x, y=labels: criterion(x, y), scores)
                torch.testing.assert_close(value, truth, rtol=0, atol=0)
                torch.testing.assert_close(found, gradient, rtol=0, atol=0)
    finally:
        torch.set_num_threads(threads)
    for p in (1.0, 2.0):
        criterion.p = p
        again = MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE)
        for one, other in zip(
            run(lambda x: criterion(x, target), logits),
            run(lambda x, loss=again: loss(x, target), logits),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_negation_that_is_only_a_flag_is_resolved() -> None:
    logits, target = labeled(2, 5, 9, 14)
    flagged = torch.complex(torch.zeros_like(logits), -logits).conj().imag
    assert flagged.is_neg()
    assert not runs_directly(flagged)
    criterion = MaxPoolingCrossEntropyLoss()
    torch.testing.assert_close(
        criterion(flagged, target), criterion(logits, target), rtol=0, atol=0
    )


class Other(Tensor):
    """A subclass, as those of frameworks."""


def test_what_is_no_plain_tensor_keeps_the_operators() -> None:
    logits, target = labeled(2, 5, 9, 14)
    assert runs_directly(logits, target, None)
    assert runs_directly(torch.nn.Parameter(logits), target)
    assert not runs_directly(logits, target.as_subclass(Other))
    seen = []
    torch.vmap(lambda x: seen.append(runs_directly(x)) or x)(logits)
    with FakeTensorMode() as mode:
        seen.append(runs_directly(mode.from_tensor(logits)))
    with FlopCounterMode(display=False):
        seen.append(runs_directly(logits))
    assert seen == [False, False, False]


def test_tensors_are_read_where_they_are_whatever_the_default_device_and_dtype() -> None:
    criterion = MaxPoolingCrossEntropyLoss()
    logits, target = labeled(2, 5, 9, 14)
    _, large = labeled(2, 5, 18, 40)
    for labels in (target, large):
        expected = run(lambda x, y=labels: criterion(x, y), logits)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        try:
            found = run(lambda x, y=labels: criterion(x, y), logits)
        finally:
            torch.set_default_device(None)
            torch.set_default_dtype(torch.float32)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_gradient_that_is_negated_by_a_flag_is_resolved(reduction: str) -> None:
    criterion = MaxPoolingCrossEntropyLoss(reduction=reduction)
    logits, target = labeled(2, 5, 9, 14)
    leaf = logits.requires_grad_()
    value = criterion(leaf, target)
    outer = torch.ones_like(value)
    flagged = torch.complex(torch.zeros_like(outer), outer).conj().imag
    assert flagged.is_neg()
    (found,) = torch.autograd.grad(value, leaf, flagged)
    (expected,) = torch.autograd.grad(criterion(leaf, target), leaf, -outer)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_leaf_of_another_size_since_the_forward_pass_is_refused() -> None:
    """Its new memory is smaller than what the forward pass read."""
    criterion = MaxPoolingCrossEntropyLoss(backend="auto")
    logits, target = labeled(2, 5, 9, 14)
    leaf = logits.requires_grad_()
    value = criterion(leaf, target)
    leaf.data = torch.zeros(2, 5, 3, 4)
    with pytest.raises((ValueError, RuntimeError)):
        value.backward()
