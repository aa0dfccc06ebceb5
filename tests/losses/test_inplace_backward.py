"""``inplace_backward``: the gradient takes the memory of the logits, or an error says why not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from lossmaxpool import MaxPoolingCrossEntropyLoss
from lossmaxpool.functional import max_pooling_cross_entropy
from lossmaxpool.ops.dispatch import absence
from tests.cases import IGNORE, labeled

BACKENDS = [name for name in ("torch", "native") if absence(name) is None]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
EAGER, AGAIN = "eager call", "call the loss again"
CHANGED = "modified by an inplace operation"


def criterion(**options: Any) -> MaxPoolingCrossEntropyLoss:
    return MaxPoolingCrossEntropyLoss(ignore_index=IGNORE, **options)


def computed(logits: Tensor) -> tuple[Tensor, Tensor]:
    """A leaf, and logits computed from it with the same values."""
    leaf = logits.detach().requires_grad_()
    return leaf, leaf + 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", [
    {}, {"weight": [1, 2, 0, 4, 5], "label_smoothing": 0.1}, {"pool": "batch", "p": 1.0},
    {"reduction": "none"},
], ids=str)  # fmt: skip
def test_the_same_gradient_in_the_memory_of_the_logits(
    options: dict[str, Any], layout: torch.memory_format, backend: str
) -> None:
    logits, target = labeled(3, 5, 9, 14, ignored=0.2)
    for scores in (logits, logits.bfloat16()):
        ours = scores.contiguous(memory_format=layout)
        grads = []
        for inplace in (False, True):
            leaf, x = computed(ours)
            loss = criterion(backend=backend, inplace_backward=inplace, **options)
            (grad,) = torch.autograd.grad(loss(x, target).sum(), x)
            assert (grad.data_ptr() == x.data_ptr()) is inplace
            assert torch.equal(x, grad if inplace else leaf)
            assert grad.stride() == x.stride()
            grads.append(grad)
        torch.testing.assert_close(*grads, rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_targets_that_are_converted_and_rows_of_logits(backend: str) -> None:
    logits, target = labeled(2, 5, 9, 14, ignored=0.2)
    rows = logits.movedim(1, -1).reshape(-1, 5)
    cases = [(logits, target.float(), "image"), (rows, target.flatten(), "batch")]
    for scores, labels, pool in cases:
        leaf, x = computed(scores)
        loss = criterion(backend=backend, inplace_backward=True, pool=pool)
        loss(x, labels).backward()
        assert torch.equal(x, leaf.grad)
        again = leaf.detach().requires_grad_()
        criterion(backend=backend, pool=pool)(again, labels).backward()
        torch.testing.assert_close(leaf.grad, again.grad, rtol=0, atol=0)


def test_a_network_gets_the_same_gradients() -> None:
    logits, target = labeled(2, 5, 9, 14, ignored=0.2)
    networks = [torch.nn.Conv2d(5, 5, 1, bias=True)]
    networks.append(copy.deepcopy(networks[0]))
    for network, inplace in zip(networks, (False, True), strict=True):
        scores = network(logits)
        loss = criterion(inplace_backward=inplace)(scores, target)
        (loss + torch.nn.functional.cross_entropy(scores, target, ignore_index=IGNORE)).backward()
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_another_use_of_the_values_is_an_error() -> None:
    logits, target = labeled(2, 5, 9, 14)
    loss = criterion(inplace_backward=True)
    _, x = computed(logits)
    value = x.square().sum() + loss(x, target)  # runs backward after the loss
    with pytest.raises(RuntimeError, match=CHANGED):
        value.backward()
    x = computed(logits)[0].exp()  # keeps its result
    with pytest.raises(RuntimeError, match=CHANGED):
        loss(x, target).backward()
    _, x = computed(logits)
    value = loss(x, target) + loss(x, target)
    with pytest.raises(RuntimeError, match=CHANGED):
        value.backward()


def test_a_second_backward_pass_is_an_error() -> None:
    logits, target = labeled(2, 5, 9, 14)
    loss = criterion(inplace_backward=True)
    _, x = computed(logits)
    value = loss(x, target)
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match=AGAIN):
        value.backward()
    # Hooks hide from autograd that saved memory has changed.
    _, x = computed(logits)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        value = loss(x, target)
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match=AGAIN):
        value.backward()
    _, x = computed(logits)
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.grad(loss(x, target), x, create_graph=True)


def test_a_copy_that_hooks_saved_is_left_alone() -> None:
    logits, target = labeled(2, 5, 9, 14)
    truth = computed(logits)
    criterion()(truth[1], target).backward()
    kept: list[Tensor] = []

    def pack(x: Tensor) -> Tensor:
        kept.append(x.clone())
        return kept[-1]

    leaf, x = computed(logits)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        value = criterion(inplace_backward=True)(x, target)
    before = [t.clone() for t in kept]
    value.backward()
    assert all(torch.equal(a, b) for a, b in zip(kept, before, strict=True))
    assert torch.equal(x, logits)
    torch.testing.assert_close(leaf.grad, truth[0].grad, rtol=0, atol=0)


def test_what_cannot_be_overwritten_is_refused() -> None:
    logits, target = labeled(2, 6, 8, 14)
    loss = criterion(inplace_backward=True)
    leaf, x = computed(logits)
    for scores in (leaf, leaf.view(2, 6, 8, 14), leaf.to(memory_format=torch.preserve_format)):
        with pytest.raises(ValueError, match="leaf"):
            loss(scores, target)
    with pytest.raises(ValueError, match="leaf"):
        criterion(inplace_backward=True, pool="batch")(torch.zeros(4, 3, requires_grad=True),
                                                       torch.zeros(4).long())  # fmt: skip
    for scores in (x[:, ::2], x.transpose(2, 3).contiguous().transpose(2, 3)):
        with pytest.raises(ValueError, match="contiguous"):
            loss(scores, target.clamp(0, 2))
    with pytest.raises(ValueError, match="contiguous"):
        loss(x[:1].expand(2, -1, -1, -1), target)
    with pytest.raises(ValueError, match="target's size"):
        loss(x, torch.zeros(2, 16, 28).long())
    with pytest.raises(ValueError, match="class ids"):
        loss(x, torch.full_like(logits, 1 / 6))


def test_only_eager_calls_overwrite() -> None:
    logits, target = labeled(2, 5, 9, 14)

    def value(x: Tensor) -> Tensor:
        return max_pooling_cross_entropy(x * 1, target, inplace_backward=True)

    with pytest.raises(RuntimeError, match=EAGER):
        torch.func.grad(value)(logits)
    with pytest.raises(Exception, match=EAGER):
        torch.compile(value, fullgraph=True, backend="eager")(logits)


def test_without_a_gradient_nothing_is_refused() -> None:
    logits, target = labeled(2, 5, 9, 14)
    before, loss = logits.clone(), criterion(inplace_backward=True)
    value = loss(logits, target)
    with torch.no_grad():
        assert torch.equal(loss(logits.requires_grad_(), target), value)
    assert torch.equal(logits, before)
