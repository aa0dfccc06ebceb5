"""MaxPoolingBCEWithLogitsLoss: the oracle's pooling of torch's binary losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import MaxPoolingBCEWithLogitsLoss, MaxPoolingCrossEntropyLoss
from tests.cases import IGNORE, binary
from tests.reference import Criterion, assert_agree, pooled, value_and_gradient
from tests.tolerances import SOLVER

LOSS = SOLVER[torch.float32]
POS_WEIGHT = [0.5, 3.0, 1.0]


def pixel_losses(scores: Tensor, labels: Tensor, **options: Any) -> Tensor:
    labels = labels.to(scores.dtype)
    return F.binary_cross_entropy_with_logits(scores, labels, reduction="none", **options)


@pytest.mark.parametrize("p", [1.0, 1.01, 1.3, 2.0, float("inf")])
@pytest.mark.parametrize("shape", [(2, 30), (2, 9, 11), (2, 3, 9, 11), (2, 3, 4, 5, 6)])
def test_every_entry_has_its_own_loss_and_weight(shape: tuple[int, ...], p: float) -> None:
    def truth(scores: Tensor, labels: Tensor) -> Tensor:
        exists = labels != IGNORE
        return pooled(pixel_losses(scores, labels * exists), exists, p=p).mean()

    ours = MaxPoolingBCEWithLogitsLoss(p=p, ignore_index=IGNORE)
    assert_agree(ours, truth, binary(*shape, ignored=0.2), LOSS)


@pytest.mark.parametrize(
    "options",
    [{"pos_weight": POS_WEIGHT}, {"pos_weight": [4.0]}, {"weight": [[[0.5]], [[0.0]], [[2.0]]]}],
    ids=str,
)
def test_weights_are_those_of_torch(options: dict[str, Any]) -> None:
    def truth(scores: Tensor, labels: Tensor) -> Tensor:
        plain = {name: torch.tensor(weight) for name, weight in options.items()}
        if plain.get("pos_weight", torch.empty(0)).numel() == 3:
            plain["pos_weight"] = plain["pos_weight"].view(3, 1, 1)
        return pooled(pixel_losses(scores, labels, **plain)).mean()

    assert_agree(MaxPoolingBCEWithLogitsLoss(**options), truth, binary(2, 3, 9, 11), LOSS)


def test_label_smoothing_moves_the_targets_towards_a_half() -> None:
    scores, labels = binary(2, 9, 11)
    smoothed = MaxPoolingBCEWithLogitsLoss(label_smoothing=0.2)
    plain = MaxPoolingBCEWithLogitsLoss()
    assert_agree(smoothed, lambda x, y: plain(x, 0.8 * y + 0.1), (scores, labels), LOSS)


def test_probabilities_are_targets() -> None:
    scores, _ = binary(2, 9, 11)
    probabilities = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(0))
    assert_agree(
        MaxPoolingBCEWithLogitsLoss(),
        lambda x, y: pooled(pixel_losses(x, y)).mean(),
        (scores, probabilities),
        LOSS,
    )


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bool,
        torch.uint8,
        torch.int16,
        torch.int64,
        torch.float16,
        torch.float32,
        torch.float64,
    ],
)
def test_any_dtype_of_the_target(dtype: torch.dtype) -> None:
    scores, labels = binary(2, 9, 11)
    criterion = MaxPoolingBCEWithLogitsLoss()
    assert criterion(scores, labels.to(dtype)) == criterion(scores, labels)


def test_an_ignore_index_beyond_the_dtype_marks_nothing() -> None:
    scores, labels = binary(1, 4, 4)
    labels[0, 0] = 156  # -100 in eight bits
    with pytest.raises(ValueError, match=r"4 of 16 binary targets are outside \[0, 1\], e.g. 156"):
        MaxPoolingBCEWithLogitsLoss()(scores, labels.to(torch.uint8))


def test_a_single_label_needs_no_channel() -> None:
    scores, labels = binary(2, 9, 11)
    criterion = MaxPoolingBCEWithLogitsLoss()
    expected = criterion(scores, labels)
    assert criterion(scores.unsqueeze(1), labels) == expected
    assert criterion(scores.unsqueeze(1), labels.unsqueeze(1)) == expected


@pytest.mark.parametrize("channel", [True, False], ids=["with channel", "without"])
def test_low_resolution_logits_are_upsampled_first(channel: bool) -> None:
    scores, labels = binary(2, 1, 5, 6)[0], binary(2, 1, 19, 24)[1]
    criterion: Criterion = MaxPoolingBCEWithLogitsLoss()

    def upsampled(scores: Tensor, labels: Tensor) -> Tensor:
        high = F.interpolate(scores, size=(19, 24), mode="bilinear", align_corners=False)
        return criterion(high, labels)

    assert_agree(criterion, upsampled, (scores, labels if channel else labels.squeeze(1)), 0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    scores, labels = binary(2, 9, 11)
    half = scores.to(dtype)
    criterion = MaxPoolingBCEWithLogitsLoss()
    value, gradient = value_and_gradient(criterion, half, labels)
    truth, wide = value_and_gradient(criterion, half.float(), labels)
    assert value == truth
    assert torch.equal(gradient, wide.to(dtype))


def test_without_a_norm_and_over_the_batch_it_is_torchs_loss() -> None:
    ours = MaxPoolingBCEWithLogitsLoss(p=float("inf"), pool="batch")

    def torchs(scores: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, labels.float())

    assert_agree(ours, torchs, binary(3, 2, 9, 11), LOSS)


def test_two_classes_are_one_label() -> None:
    """The softmax over (0, s) is the sigmoid of s."""
    scores, labels = binary(2, 9, 11)

    softmax: Criterion = MaxPoolingCrossEntropyLoss()

    def two_classes(scores: Tensor, labels: Tensor) -> Tensor:
        both = torch.stack([torch.zeros_like(scores), scores], 1)
        return softmax(both, labels)

    assert_agree(MaxPoolingBCEWithLogitsLoss(), two_classes, (scores, labels), LOSS)
