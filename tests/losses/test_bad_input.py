"""Bad input: the error names the value received, the expected one and the fix."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmaxpool import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
)
from tests.cases import IGNORE, binary, labeled

Build = Callable[..., nn.Module]


def over_smooth_l1(**options: Any) -> nn.Module:
    return MaxPoolingLoss(nn.SmoothL1Loss(reduction="none"), **options)


POOLED = [
    pytest.param(MaxPoolingCrossEntropyLoss, id="cross-entropy"),
    pytest.param(MaxPoolingBCEWithLogitsLoss, id="binary"),
    pytest.param(over_smooth_l1, id="any"),
]
WITH_LOGITS = [*POOLED[:2], pytest.param(BootstrappedCrossEntropyLoss, id="bootstrapped")]
MULTICLASS = [POOLED[0], WITH_LOGITS[2]]
EVERY = [*POOLED, WITH_LOGITS[2]]


@pytest.mark.parametrize("build", POOLED)
@pytest.mark.parametrize("p", [0.99, 0, -1, math.nan, -math.inf, "2", None, torch.tensor(2.0)])
def test_an_exponent_outside_its_range(build: Build, p: Any) -> None:
    with pytest.raises(ValueError, match=r"p must be a norm exponent in \[1, inf\], got .*1.3"):
        build(p=p)


@pytest.mark.parametrize("build", POOLED)
@pytest.mark.parametrize("share", [0, -0.1, 1.01, 25, math.nan, math.inf, "0.25", None])
def test_a_support_outside_its_range(build: Build, share: Any) -> None:
    message = r"min_support must be a share of the valid pixels in \(0, 1\], got .*0.25 means"
    with pytest.raises(ValueError, match=message):
        build(min_support=share)


@pytest.mark.parametrize("build", EVERY)
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "pool",
            "images",
            "pool must be one of 'image', 'batch', 'world', got 'images'. Did you mean 'image'?",
        ),
        ("pool", None, "pool must be one of .* got None"),
        ("reduction", "avg", "reduction must be one of 'mean', 'sum', 'none', got 'avg'"),
        ("reduction", "means", "Did you mean 'mean'?"),
    ],
)
def test_a_word_that_is_no_choice(build: Build, option: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        build(**{option: value})


@pytest.mark.parametrize("build", WITH_LOGITS)
@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_a_smoothing_outside_its_range(build: Build, smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\], got"):
        build(label_smoothing=smoothing)


@pytest.mark.parametrize("build", WITH_LOGITS)
def test_a_word_that_is_no_backend(build: Build) -> None:
    with pytest.raises(ValueError, match=r"backend must be one of .* mean 'triton'\?"):
        build(backend="tritn")


@pytest.mark.parametrize("backend", ["native", "triton"])
def test_kernels_that_a_loss_does_not_have(backend: str) -> None:
    message = (
        rf"\"{backend}\" cannot run: (binary pixel losses are computed by torch's|triton is|this)"
    )
    with pytest.raises(RuntimeError, match=message):
        MaxPoolingBCEWithLogitsLoss(backend=backend)


@pytest.mark.skipif(torch.cuda.is_available(), reason="Triton can run here")
@pytest.mark.parametrize("build", MULTICLASS)
def test_kernels_that_no_device_here_can_run(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(
        RuntimeError, match=r'"triton" cannot run: (triton is not|this machine has)'
    ):
        build(backend="triton")


@pytest.mark.parametrize("build", WITH_LOGITS)
@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_class_weights_that_make_no_losses(build: Build, wrong: float) -> None:
    with pytest.raises(ValueError, match=r"weight must be finite and >= 0, got \[1.0, .*negative"):
        build(weight=[1.0, wrong])


def test_a_weight_of_positives_names_itself() -> None:
    with pytest.raises(ValueError, match="pos_weight must be finite and >= 0"):
        MaxPoolingBCEWithLogitsLoss(pos_weight=[-1.0])


@pytest.mark.parametrize("build", MULTICLASS)
@pytest.mark.parametrize("weight", [[1.0, 2.0], [[1.0] * 5], 2.0], ids=str)
def test_class_weights_of_another_length(build: Build, weight: Any) -> None:
    message = r"weight has shape .* but the logits have 5 classes: one weight per class"
    with pytest.raises(ValueError, match=message):
        build(weight=weight)(*labeled(2, 5, 6, 7))


@pytest.mark.parametrize("build", MULTICLASS)
@pytest.mark.parametrize(
    ("shape", "target", "error", "message"),
    [
        ((5,), torch.zeros(()).long(), ValueError, r"logits must be \(B, C, .* got shape \(5,\)"),
        ((1, 5, 1, 1, 1, 1), torch.zeros(1, 1, 1, 1, 1).long(), ValueError, "up to three spatial"),
        (
            (2, 5, 6, 7),
            torch.full((2, 6, 7), 0.5),
            ValueError,
            r"dtype torch.float32 and shape \(2, 6, 7\), .* expected integer class ids .*\(B, 5, ",
        ),
        (
            (2, 5, 6, 7),
            torch.full((2, 1, 6, 7), math.nan),
            ValueError,
            r"shape \(2, 6, 7\), which means class ids, but 84 of 84 are not integers, e.g. nan",
        ),
        (
            (2, 5, 6, 7),
            torch.zeros(3, 6, 7).long(),
            ValueError,
            r"target has shape \(3, 6, 7\), logits \(2, 5, 6, 7\): expected class ids",
        ),
        ((2, 5, 6, 7), torch.zeros(2, 42).long(), ValueError, "expected class ids of shape"),
        ((2, 5, 6, 7), torch.zeros(2, 5, 6, 7).long(), ValueError, "expected class ids of shape"),
        (
            (2, 5, 6, 7),
            torch.zeros(2, 5, 6, 7).long(),
            ValueError,
            r"If it is one-hot, pass target.argmax\(1\), or target.float\(\) as probabilities",
        ),
        (
            (2, 5, 6, 7),
            torch.zeros(2, 4, 6, 7),
            ValueError,
            r"probabilities have shape \(2, 4, 6, 7\), .* batch and classes must agree",
        ),
        (
            (2, 5, 6, 7),
            torch.zeros(2, 5, 7).long(),
            ValueError,
            r"logits have spatial size \(6, 7\), target \(5, 7\): .* or the logits smaller",
        ),
        ((2, 5, 6, 7), torch.zeros(2, 12, 6).long(), ValueError, "or the logits smaller"),
        ((1, 5, 2), torch.zeros(1, 2, 6).long(), ValueError, "class ids of shape|logits smaller"),
    ],
)
def test_shapes_and_dtypes_that_do_not_match(
    build: Build, shape: tuple[int, ...], target: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build()(torch.zeros(shape), target)


@pytest.mark.parametrize("build", WITH_LOGITS)
def test_logits_that_are_labels(build: Build) -> None:
    labels = torch.zeros(2, 5, 6, 7, dtype=torch.long)
    with pytest.raises(TypeError, match=r"logits must be floating, got torch\.int64"):
        build()(labels, labels[:, 0])


@pytest.mark.parametrize("build", MULTICLASS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_labels_outside_the_classes(build: Build, dtype: torch.dtype) -> None:
    logits, target = labeled(2, 5, 6, 7)
    target[0, 0, :2], target[1, 5, 0] = 7, IGNORE
    message = (
        r"target holds 3 labels outside \[0, 5\): \[7, 255\]. Expected class ids below 5 or "
        r"ignore_index \(-100\). Pass ignore_index=255 if that marks unlabeled"
    )
    with pytest.raises(ValueError, match=message):
        build()(logits, target.to(dtype))


def test_negative_labels() -> None:
    logits, target = labeled(2, 5, 6, 7)
    target[0, 0, 0] = -1
    with pytest.raises(ValueError, match=r"1 labels outside \[0, 5\): \[-1\]"):
        MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)(logits, target)


def test_many_wrong_labels_are_not_all_listed() -> None:
    logits, target = torch.zeros(1, 2, 4, 5), torch.arange(20).view(1, 4, 5)
    with pytest.raises(ValueError, match=r"18 labels .*\[2, 3, 4, 5, 6, 7, 8, 9\]\.\.\."):
        MaxPoolingCrossEntropyLoss()(logits, target)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        ((2, 6, 7), (3, 6, 7), r"target has shape \(3, 6, 7\), logits \(2, 6, 7\): one 0/1 label"),
        ((2, 3, 6, 7), (2, 6, 7), r"one 0/1 label per score is expected"),
        ((2, 3, 6, 7), (2, 1, 6, 7), r"only spatial dimensions behind \(B, C\) may differ"),
        ((2, 6), (2, 7), r"only spatial dimensions behind \(B, C\) may differ"),
        ((2, 1, 6, 7), (2, 1, 5, 9), r"or the logits smaller"),
    ],
)
def test_binary_shapes_that_do_not_match(
    logits: tuple[int, ...], target: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MaxPoolingBCEWithLogitsLoss()(torch.zeros(logits), torch.zeros(target))


@pytest.mark.parametrize("weight", [[1.0, 2.0], [[1.0, 2.0, 3.0]]])
def test_weights_of_positives_of_another_length(weight: Any) -> None:
    message = r"pos_weight has shape .*one weight per label \(dimension 1 of the logits\)"
    with pytest.raises(ValueError, match=message):
        MaxPoolingBCEWithLogitsLoss(pos_weight=weight)(*binary(2, 3, 6, 7))


def test_masks_of_0_and_255() -> None:
    scores, labels = binary(2, 6, 7)
    message = r"of 84 binary targets are outside \[0, 1\], e.g. 255.*ignore_index \(-100\).*by 255"
    with pytest.raises(ValueError, match=message):
        MaxPoolingBCEWithLogitsLoss()(scores, 255 * labels)


@pytest.mark.parametrize("ignore_index", [math.nan, "255", 255.0, True])
@pytest.mark.parametrize(
    "criterion",
    [MaxPoolingCrossEntropyLoss, MaxPoolingBCEWithLogitsLoss, BootstrappedCrossEntropyLoss],
)
def test_an_ignore_index_that_is_no_label_is_refused(
    criterion: type[torch.nn.Module], ignore_index: object
) -> None:
    with pytest.raises(ValueError, match=r"ignore_index must be an integer label, got"):
        criterion(ignore_index=ignore_index)


@pytest.mark.parametrize("scale", [0.0, 5.0, -1.0])
def test_target_probabilities_that_are_none_are_refused(scale: float) -> None:
    target = torch.full((1, 4, 2, 2), 0.25)
    MaxPoolingCrossEntropyLoss()(torch.zeros(1, 4, 2, 2), target)
    target[0, :, 1, 1] *= scale
    with pytest.raises(ValueError, match=r"target holds 1 pixels of 4 whose class probabilities"):
        MaxPoolingCrossEntropyLoss()(torch.zeros(1, 4, 2, 2), target)
