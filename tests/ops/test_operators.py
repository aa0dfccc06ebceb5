"""The registration of the operators: complete, differentiable once, transformable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lossmaxpool import MaxPoolingCrossEntropyLoss
from lossmaxpool.ops.cross_entropy import cross_entropy, cross_entropy_backward
from tests.cases import IGNORE, labeled
from tests.reference import assert_near
from tests.tolerances import FROM_LOGITS

CHECKS = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)


def arguments(
    pools: int, weight: Tensor | None = None, backend: str = "auto"
) -> tuple[object, ...]:
    logits, _ = labeled(2, 5, 4, 6)
    _, target = labeled(2, 5, 8, 12, ignored=0.2)
    leaf = logits.requires_grad_()
    reduction = "mean" if pools == 2 else "none"
    return (leaf, target, weight, IGNORE, 0.1, [1.7, 0.25, 1.0], pools, False, backend, reduction)


# torch's check reads gradients of tensors that have none.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("pools", [1, 2])
@pytest.mark.parametrize("weight", [None, torch.arange(5.0)])
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_torch_accepts_the_registration(pools: int, weight: Tensor | None, backend: str) -> None:
    inputs = arguments(pools, weight, backend)
    torch.library.opcheck(cross_entropy, inputs, test_utils=CHECKS)
    logits, target, *_ = inputs
    _, packed, losses = cross_entropy(*inputs)
    backward = (
        torch.ones(pools),
        logits,
        target,
        weight,
        losses,
        packed,
        IGNORE,
        0.1,
        [1.7, 0.25, 1.0],
    )
    torch.library.opcheck(
        cross_entropy_backward,
        (*(x.detach() if isinstance(x, Tensor) else x for x in backward), backend),
        test_utils=("test_schema", "test_faketensor"),
    )


@pytest.mark.parametrize("p", [1.0, 1.3, 4.0, float("inf")])
@pytest.mark.parametrize("pool", ["image", "batch"])
def test_gradcheck(p: float, pool: str) -> None:
    logits, _ = labeled(2, 3, 3, 4)
    _, target = labeled(2, 3, 6, 8, ignored=0.2)
    criterion = MaxPoolingCrossEntropyLoss(
        p=p, weight=[1.0, 2.0, 0.5], ignore_index=IGNORE, label_smoothing=0.1, pool=pool
    )
    leaf = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: criterion(x, target), (leaf,))


@pytest.mark.parametrize("pool", ["image", "batch"])
def test_vmap_and_functional_gradients(pool: str) -> None:
    logits, target = labeled(6, 5, 4, 6, ignored=0.2)
    logits, target = logits.unflatten(0, (3, 2)), target.unflatten(0, (3, 2))
    criterion = MaxPoolingCrossEntropyLoss(weight=[1, 2, 3, 4, 5], ignore_index=IGNORE, pool=pool)
    mapped = torch.vmap(criterion)(logits, target)
    one_by_one = torch.stack([criterion(x, y) for x, y in zip(logits, target, strict=True)])
    assert_near(mapped, one_by_one, FROM_LOGITS)
    per_sample = torch.vmap(torch.func.grad(criterion))(logits, target)
    truth = torch.stack(
        [torch.func.grad(criterion)(x, y) for x, y in zip(logits, target, strict=True)]
    )
    assert_near(per_sample, truth, FROM_LOGITS)
    one_target = torch.vmap(criterion, in_dims=(0, None))(logits, target[0])
    assert_near(one_target, torch.stack([criterion(x, target[0]) for x in logits]), FROM_LOGITS)


def test_what_vmap_cannot_do_is_refused() -> None:
    logits, target = labeled(2, 5, 4, 6)
    logits, target = logits.unsqueeze(1), target.unsqueeze(1)
    world = MaxPoolingCrossEntropyLoss(pool="world")
    with pytest.raises(NotImplementedError, match="every call is a collective"):
        torch.vmap(world)(logits, target)

    def weighted(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        value, _, _ = cross_entropy(
            logits, target, weight, -100, 0.0, [1.3, 0.25, 1.0], 1, False, "auto", "sum"
        )
        return value

    with pytest.raises(NotImplementedError, match="once per set of weights"):
        torch.vmap(weighted)(logits, target, torch.ones(2, 5))


def test_a_second_derivative_is_refused() -> None:
    logits, target = labeled(2, 5, 4, 6)
    leaf = logits.requires_grad_()
    (first,) = torch.autograd.grad(
        MaxPoolingCrossEntropyLoss()(leaf, target), leaf, create_graph=True
    )
    with pytest.raises(NotImplementedError, match="no second derivative here"):
        first.square().sum().backward()


@pytest.mark.parametrize("scale", [1.0, -3.0, 0.0])
def test_the_upstream_gradient_scales_every_image_by_itself(scale: float) -> None:
    logits, target = labeled(2, 5, 4, 6)
    leaf = logits.requires_grad_()
    value = MaxPoolingCrossEntropyLoss(reduction="none")(leaf, target)
    (plain,) = torch.autograd.grad(value.sum(), leaf, retain_graph=True)
    (scaled,) = torch.autograd.grad(value, leaf, torch.tensor([1.0, scale]))
    assert_near(scaled[0], plain[0], FROM_LOGITS)
    assert_near(scaled[1], scale * plain[1], FROM_LOGITS)


def test_only_the_loss_map_is_kept_between_the_passes() -> None:
    logits, target = labeled(2, 19, 40, 50)
    saved = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal saved
        if tensor.data_ptr() not in (logits.data_ptr(), target.data_ptr()):
            saved += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        MaxPoolingCrossEntropyLoss()(logits.requires_grad_(), target)
    assert saved < 1.1 * 4 * target.numel()
