"""Losses in a training loop: copy, save, schedule, compile, accumulate, checkpoint."""

from __future__ import annotations

import copy
import pickle
import shutil

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lossmaxpool import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
)
from tests.cases import IGNORE, binary, labeled
from tests.reference import assert_agree, assert_near, pooled
from tests.tolerances import FROM_LOGITS, SOLVER

LOSS = SOLVER[torch.float32]

CRITERIA = {
    "cross-entropy": MaxPoolingCrossEntropyLoss(
        p=1.7,
        min_support=0.1,
        weight=[1, 2, 3, 4, 5],
        ignore_index=IGNORE,
        label_smoothing=0.1,
        pool="batch",
    ),
    "binary": MaxPoolingBCEWithLogitsLoss(
        p=1.7, min_support=0.1, weight=[2.0], pos_weight=[3.0], pool="batch"
    ),
    "bootstrapped": BootstrappedCrossEntropyLoss(7, weight=[1, 2, 3, 4, 5], pool="batch"),
    "any": MaxPoolingLoss(nn.SmoothL1Loss(reduction="none"), p=1.7, min_support=0.1, pool="batch"),
}
BINARY = ("binary", "any")


@pytest.fixture(params=CRITERIA)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def criterion(name: str) -> nn.Module:
    return CRITERIA[name]


@pytest.fixture
def inputs(name: str) -> tuple[Tensor, Tensor]:
    if name in BINARY:
        scores, labels = binary(2, 6, 8)
        return scores, labels.float()
    return labeled(2, 5, 6, 8)


def test_copies_and_pickles_are_the_same_loss(
    criterion: nn.Module, inputs: tuple[Tensor, Tensor]
) -> None:
    for twin in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert repr(twin) == repr(criterion)
        assert_agree(twin, criterion, inputs, 0.0)


def test_a_state_dict_carries_the_class_weights_and_nothing_else(
    criterion: nn.Module, name: str, inputs: tuple[Tensor, Tensor]
) -> None:
    criterion(*inputs)
    state = criterion.state_dict()
    assert set(state) == {"binary": {"weight", "pos_weight"}, "any": set()}.get(name, {"weight"})
    twin = copy.deepcopy(criterion)
    for buffer in twin.buffers():
        buffer.zero_()
    twin.load_state_dict(state)
    assert_agree(twin, criterion, inputs, 0.0)


def test_the_class_weights_move_with_the_module() -> None:
    criterion = MaxPoolingCrossEntropyLoss(weight=[1.0, 2.0]).double()
    assert criterion.weight is not None
    assert criterion.weight.dtype == torch.float64


def test_a_pixel_loss_keeps_its_parameters() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, scores: Tensor, target: Tensor) -> Tensor:
            return self.scale * (scores - target).square()

    criterion = MaxPoolingLoss(Scaled())
    assert dict(criterion.named_parameters()).keys() == {"pixel_loss.scale"}
    value = criterion(*binary(2, 6, 8))
    value.backward()
    scale = next(criterion.parameters())
    assert scale.grad is not None
    assert_near(scale.grad, value.detach() / 2, LOSS)


def test_a_schedule_may_change_the_weighting_set() -> None:
    logits, target = labeled(2, 5, 9, 11)
    criterion = MaxPoolingCrossEntropyLoss()
    for p, min_support in ((1.0, 0.5), (2.0, 0.01), (float("inf"), 1.0), (1.3, 0.25)):
        criterion.p, criterion.min_support = p, min_support
        assert_agree(
            criterion,
            MaxPoolingCrossEntropyLoss(p=p, min_support=min_support),
            (logits, target),
            0.0,
        )


def test_a_schedule_that_leaves_the_range_is_refused() -> None:
    criterion = MaxPoolingCrossEntropyLoss()
    criterion.p = 0.9
    with pytest.raises(ValueError, match=r"p must be a norm exponent in \[1, inf\], got 0.9"):
        criterion(*labeled(2, 5, 9, 11))
    criterion.p, criterion.min_support = 2.0, 25
    with pytest.raises(ValueError, match=r"min_support must be a share .* got 25"):
        criterion(*labeled(2, 5, 9, 11))


def test_the_repr_says_what_was_chosen() -> None:
    text = repr(MaxPoolingCrossEntropyLoss(p=1.7, min_support=0.1, pool="batch", reduction="sum"))
    assert "p=1.7, min_support=0.1, pool='batch', reduction='sum'" in text
    assert "k=7" in repr(BootstrappedCrossEntropyLoss(7))


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    images, target = torch.randn(4, 3, 8, 8), labeled(4, 5, 8, 8, ignored=0.4)[1]
    network = nn.Conv2d(3, 5, 3, padding=1)
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)
    whole = torch.autograd.grad(criterion(network(images), target), network.weight)[0]
    for part in (slice(0, 2), slice(2, 4)):
        (criterion(network(images[part]), target[part]) / 2).backward()
    assert network.weight.grad is not None
    # The convolution also sums the images in another order.
    assert_near(network.weight.grad, whole, FROM_LOGITS)


def test_activation_checkpointing_repeats_the_loss(
    criterion: nn.Module, inputs: tuple[Tensor, Tensor]
) -> None:
    def checkpointed(logits: Tensor, target: Tensor) -> Tensor:
        value = checkpoint(criterion, logits, target, use_reentrant=False)
        assert isinstance(value, Tensor)
        return value

    assert_agree(checkpointed, criterion, inputs, 0.0)


@pytest.mark.usefixtures("fresh_compiler")
def test_it_compiles_without_a_break(criterion: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    assert_agree(compiled, criterion, inputs, LOSS)


@pytest.mark.usefixtures("fresh_compiler")
def test_it_compiles_where_nothing_needs_a_gradient(
    criterion: nn.Module, inputs: tuple[Tensor, Tensor]
) -> None:
    compiled = torch.compile(criterion, fullgraph=True, backend="eager")
    constant = tuple(part.detach() for part in inputs)
    torch.testing.assert_close(compiled(*constant), criterion(*constant), rtol=LOSS, atol=LOSS)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler on the CPU")
def test_inductor_compiles_upsampling_and_ignored_pixels() -> None:
    logits = labeled(2, 5, 4, 4)[0]
    target = labeled(2, 5, 8, 8, ignored=0.3)[1].to(torch.uint8)
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)
    assert_agree(torch.compile(criterion, fullgraph=True), criterion, (logits, target), LOSS)


@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiled_loss_follows_its_schedule() -> None:
    inputs = labeled(2, 5, 6, 8)
    criterion = MaxPoolingCrossEntropyLoss()
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    for criterion.p in (1.3, 1.7, 2.0):
        assert_agree(compiled, criterion, inputs, LOSS)


@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiled_loss_follows_the_shape_of_the_batch() -> None:
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch, size in ((2, 6), (3, 9), (1, 4)):
        logits, _ = labeled(batch, 5, size, size)
        _, target = labeled(batch, 5, 2 * size, 2 * size, ignored=0.3)
        assert_agree(compiled, criterion, (logits, target), LOSS)


def test_training_lowers_what_the_oracle_measures() -> None:
    images, target = labeled(2, 5, 8, 8, margin=1.0)
    network = nn.Conv2d(5, 5, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    criterion = MaxPoolingCrossEntropyLoss()

    def measured() -> float:
        losses = nn.functional.cross_entropy(network(images), target, reduction="none")
        return float(pooled(losses.detach()).mean())

    before = measured()
    for _ in range(20):
        optimizer.zero_grad()
        criterion(network(images), target).backward()
        optimizer.step()
    assert measured() < 0.8 * before
