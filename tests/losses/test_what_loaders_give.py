"""Inputs as data sets, models and frameworks return them: accepted, or rejected with a fix."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
    loss_max_pool,
    max_pooling_cross_entropy,
    median_frequency_weights,
    solve,
)
from tests.cases import IGNORE, binary, labeled
from tests.reference import assert_agree, assert_near, pooled, value_and_gradient
from tests.tolerances import FROM_LOGITS, SOLVER

LOSS = SOLVER[torch.float32]
MULTICLASS = [MaxPoolingCrossEntropyLoss, BootstrappedCrossEntropyLoss]


def absolute(scores: Tensor, target: Tensor) -> Tensor:
    return (scores - target).abs()


# Without a spatial dimension


@pytest.mark.parametrize("build", MULTICLASS)
def test_flat_logits_by_image_are_refused_with_the_way_out(build: Any) -> None:
    logits, target = labeled(1, 5, 30)
    rows, ids = logits[0].t(), target[0]
    with pytest.raises(ValueError, match=r"shape \(30, 5\).*pool=\"batch\".*\(B, C, N\).*unsqueez"):
        build()(rows, ids)
    assert_near(build(pool="batch")(rows, ids), build()(logits, target), LOSS)


def test_flat_losses_by_image_are_refused_with_the_way_out() -> None:
    losses = torch.rand(10)
    for call in (solve, loss_max_pool):
        with pytest.raises(ValueError, match=r"shape \(10,\).*pool=\"batch\".*\(1, 10\)"):
            call(losses)
    with pytest.raises(ValueError, match=r"shape \(10,\)"):
        MaxPoolingLoss(absolute)(losses, losses + 1)
    assert loss_max_pool(losses, pool="batch") == loss_max_pool(losses.unsqueeze(0))


@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_flat_binary_logits_by_image_are_refused_with_the_way_out(shape: tuple[int, ...]) -> None:
    scores, labels = binary(12)
    flat = scores.view(shape), labels.view(shape)
    with pytest.raises(ValueError, match=r"pool=\"batch\".*\(1, 12\)"):
        MaxPoolingBCEWithLogitsLoss()(*flat)
    one = MaxPoolingBCEWithLogitsLoss()(scores.view(1, 12), labels.view(1, 12))
    assert MaxPoolingBCEWithLogitsLoss(pool="batch")(*flat) == one


@pytest.mark.parametrize("pool", ["batch", "world"])
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_flat_logits_are_one_image_without_a_copy(pool: Any, backend: Any) -> None:
    logits, target = labeled(1, 5, 30, ignored=0.2)
    options: dict[str, Any] = {"ignore_index": IGNORE, "backend": backend}
    flat = value_and_gradient(
        MaxPoolingCrossEntropyLoss(pool=pool, **options), logits[0].t(), target[0]
    )
    image = value_and_gradient(MaxPoolingCrossEntropyLoss(**options), logits, target)
    assert_near(flat[0], image[0], LOSS)
    assert_near(flat[1], image[1][0].t(), LOSS)


# Targets


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("channel", [False, True])
@pytest.mark.parametrize("build", MULTICLASS)
def test_floats_that_hold_integers_are_class_ids(
    build: Any, channel: bool, dtype: torch.dtype
) -> None:
    logits, target = labeled(2, 5, 6, 7, ignored=0.3)
    given = target.to(dtype)
    criterion = build(ignore_index=IGNORE)
    assert criterion(logits, given.unsqueeze(1) if channel else given) == criterion(logits, target)


@pytest.mark.parametrize("build", [*MULTICLASS, MaxPoolingBCEWithLogitsLoss])
def test_without_an_ignore_index_every_pixel_exists(build: Any) -> None:
    logits, target = labeled(2, 5, 6, 7)
    if build is MaxPoolingBCEWithLogitsLoss:
        logits, target = binary(2, 6, 7)
    assert build(ignore_index=None)(logits, target) == build()(logits, target)
    target[0, 0, 0] = -100
    with pytest.raises(ValueError, match=r"(ignore_index|the ignore_index) \(None\)"):
        build(ignore_index=None)(logits, target)


def test_logits_of_one_class_or_none_are_refused() -> None:
    target = torch.zeros(2, 6, 7).long()
    for build in MULTICLASS:
        with pytest.raises(ValueError, match=r"shape \(2, 1, 6, 7\).*MaxPoolingBCEWithLogitsLoss"):
            build()(torch.zeros(2, 1, 6, 7), target)
        with pytest.raises(ValueError, match=r"shape \(2, 0, 6, 7\).*no class"):
            build()(torch.zeros(2, 0, 6, 7), target)


class ModelOutput(OrderedDict[str, Tensor]):
    """A model output as transformers returns it."""

    @property
    def logits(self) -> Tensor:
        return self["logits"]


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"out": torch.zeros(1), "aux": torch.zeros(1)}, r"outputs\['out'\]"),
        ({"masks": torch.zeros(1)}, r"outputs\['masks'\]"),
        (ModelOutput(logits=torch.zeros(1)), r"outputs\.logits"),
        ((torch.zeros(1), None), r"outputs\[0\]"),
        (np.zeros((1, 2, 3, 3)), r"torch\.from_numpy"),
        ([[0.5]], r"torch\.as_tensor"),
    ],
)
def test_what_is_no_tensor_is_refused_with_a_remedy(given: Any, remedy: str) -> None:
    target = torch.zeros(1, 3, 3).long()
    calls = [
        lambda: MaxPoolingCrossEntropyLoss()(given, target),
        lambda: MaxPoolingBCEWithLogitsLoss()(given, target),
        lambda: MaxPoolingCrossEntropyLoss()(torch.zeros(1, 2, 3, 3), given),
        lambda: solve(given),
        lambda: loss_max_pool(given),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=rf"must be a tensor, got \w+: pass .*{remedy}"):
            call()


def test_class_weights_and_counts_that_are_none() -> None:
    for build in (*MULTICLASS, MaxPoolingBCEWithLogitsLoss):
        with pytest.raises(TypeError, match="weight must be a tensor or a sequence of numbers"):
            build(weight="x")
    with pytest.raises(TypeError, match=r"pass a tensor, an array or equally long lists"):
        median_frequency_weights([[1, 2], [3]])
    counts = [[90, 10, 0], [60, 0, 40]]
    expected = median_frequency_weights(torch.tensor(counts))
    assert median_frequency_weights(counts).equal(expected)
    assert median_frequency_weights(np.array(counts)).equal(expected)


# Options by name


@pytest.mark.parametrize("build", [MaxPoolingCrossEntropyLoss, MaxPoolingBCEWithLogitsLoss])
def test_options_are_taken_by_name_only(build: Any) -> None:
    with pytest.raises(TypeError, match=r"by name only.*p=1\.3, min_support=0\.25"):
        build(1.3)
    with pytest.raises(TypeError, match=r"pixel_loss and then options by name only"):
        MaxPoolingLoss(absolute, 1.3)
    losses = torch.rand(2, 5)
    with pytest.raises(TypeError, match=r"loss_max_pool takes losses .*by name only.*valid=\.\.\."):
        loss_max_pool(losses, losses > 0.5)  # type: ignore[misc]
    with pytest.raises(TypeError, match="input, target and then options by name only"):
        max_pooling_cross_entropy(*labeled(1, 3, 4, 4), 1.3)  # type: ignore[misc]


def test_the_function_is_the_module() -> None:
    logits, target = labeled(2, 5, 6, 7, ignored=0.2)
    options: dict[str, Any] = {"p": 1.7, "ignore_index": IGNORE, "label_smoothing": 0.1}
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])
    module = MaxPoolingCrossEntropyLoss(weight=weight, **options)
    value = max_pooling_cross_entropy(input=logits, target=target, weight=weight, **options)
    assert value == module(input=logits, target=target)


# Any pixel loss


def test_a_mask_is_an_argument_of_the_call() -> None:
    scores, target = binary(2, 9, 11)
    valid = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(0)) < 0.7
    criterion = MaxPoolingLoss(absolute)
    truth = pooled(absolute(scores, target), valid).mean()
    assert_near(criterion(scores, target, valid), truth, LOSS)
    assert_near(criterion(scores, target, valid=valid.unsqueeze(1)), truth, LOSS)
    marked = target.masked_fill(~valid, IGNORE)
    both = MaxPoolingLoss(absolute, ignore_index=IGNORE)
    assert_near(both(scores, marked, valid=torch.ones_like(valid)), truth, LOSS)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_losses_that_keep_their_channel(channels: int) -> None:
    scores, target = binary(2, channels, 9, 11)
    valid = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(0)) < 0.7
    criterion = MaxPoolingLoss(lambda x, y: F.l1_loss(x, y.float(), reduction="none"))
    losses, exists = absolute(scores, target), valid.unsqueeze(1).expand_as(scores)
    assert_near(criterion(scores, target, valid), pooled(losses, exists).mean(), LOSS)
    # A pixel loss that keeps a channel of one, of a target that has none.
    kept = MaxPoolingLoss(lambda x, y: (x - y.unsqueeze(1)).abs(), ignore_index=IGNORE)
    first = target[:, 0].masked_fill(~valid, IGNORE)
    truth = absolute(scores, first.unsqueeze(1))
    assert_near(kept(scores, first), pooled(truth, exists).mean(), LOSS)


def test_an_error_of_the_pixel_loss_is_not_hidden() -> None:
    def broken(scores: Tensor, target: Tensor) -> Tensor:
        raise ZeroDivisionError("of the pixel loss")

    with pytest.raises(ZeroDivisionError, match="of the pixel loss"):
        MaxPoolingLoss(broken)(*binary(2, 9, 11))
    with pytest.raises(TypeError, match="must be a module or a function"):
        MaxPoolingLoss("smooth_l1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"got nan: .*valid=~target.isnan\(\)"):
        MaxPoolingLoss(absolute, ignore_index=math.nan)


# NaN at ignored pixels


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("squared", [False, True])
def test_what_does_not_exist_cannot_poison_the_gradient(wrong: float, squared: bool) -> None:
    scores, target = binary(2, 9, 11)
    target[:, :3] = IGNORE
    pixel_loss = nn.MSELoss(reduction="none") if squared else nn.SmoothL1Loss(reduction="none")
    any_loss = MaxPoolingLoss(pixel_loss, ignore_index=IGNORE)
    for criterion, labels in (
        (MaxPoolingBCEWithLogitsLoss(ignore_index=IGNORE), target),
        (any_loss, target.float()),
    ):
        clean = value_and_gradient(criterion, scores, labels)
        poisoned = scores.clone()
        poisoned[:, :2] = wrong
        for found, truth in zip(
            value_and_gradient(criterion, poisoned, labels), clean, strict=True
        ):
            assert found.equal(truth)
    depth = target.float().masked_fill(target == IGNORE, math.nan)
    masked = MaxPoolingLoss(pixel_loss)
    value, gradient = value_and_gradient(lambda x, y: masked(x, y, valid=~y.isnan()), scores, depth)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_masks_of_0_and_255_whose_255_is_ignored_are_warned_of_once() -> None:
    scores, labels = binary(2, 6, 7)
    criterion = MaxPoolingBCEWithLogitsLoss(ignore_index=255)
    with pytest.warns(UserWarning, match=r"ignore_index=255 marks .* no positive.*divide"):
        criterion(scores, 255 * labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        criterion(scores, 255 * labels)
        MaxPoolingBCEWithLogitsLoss(ignore_index=255)(scores, torch.zeros_like(labels))


# backend= is respected


@pytest.mark.parametrize("soft", [False, True])
def test_backend_torch_runs_nothing_else(soft: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossmaxpool.ops.backends import native

    def refuse(*_: object) -> Tensor:
        raise AssertionError("the native kernels ran")

    for stage in ("pixel_losses", "solve", "weigh", "gradient"):
        monkeypatch.setattr(native, stage, refuse)
    logits, target = labeled(2, 5, 6, 7)
    scores, labels = binary(2, 6, 7)
    losses = torch.rand(2, 50)
    value_and_gradient(
        MaxPoolingCrossEntropyLoss(backend="torch"), logits, logits.softmax(1) if soft else target
    )
    value_and_gradient(MaxPoolingBCEWithLogitsLoss(backend="torch"), scores, labels)
    value_and_gradient(MaxPoolingLoss(absolute, backend="torch"), scores, labels)
    value_and_gradient(lambda x, _: loss_max_pool(x, backend="torch"), losses, losses)
    solve(losses, backend="torch")


def test_solve_certifies_the_solver_that_ran() -> None:
    losses = torch.rand(3, 400, generator=torch.Generator().manual_seed(0))
    for backend in ("auto", "torch"):
        leaf = losses.clone().requires_grad_()
        value = loss_max_pool(leaf, reduction="none", backend=backend)  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        found = solve(losses, backend=backend)  # type: ignore[arg-type]
        assert found.value.equal(value)
        assert found.weights.equal(gradient)


def test_a_backend_that_cannot_solve_these_losses_is_refused() -> None:
    for call in (loss_max_pool, solve):
        with pytest.raises(RuntimeError, match=r'"(native|triton)" cannot run: .*Use "auto"'):
            call(torch.rand(2, 5).double(), backend="native")
        with pytest.raises(ValueError, match="backend must be one of"):
            call(torch.rand(2, 5), backend="cuda")


def test_float_ids_are_those_of_monai() -> None:
    """Labels (B, 1, H, W) of float32, and a wrapper that interpolates them by nearest."""
    logits, target = labeled(2, 5, 8, 8)
    label = target.unsqueeze(1).float()
    small = F.interpolate(label, size=(4, 4), mode="nearest")
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=None)
    assert_agree(
        lambda x, y: criterion(x, y) + 0.5 * criterion(F.avg_pool2d(x, 2), small),
        lambda x, y: criterion(x, target) + 0.5 * criterion(F.avg_pool2d(x, 2), small[:, 0].long()),
        (logits, label),
        FROM_LOGITS,
    )
