from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lossmaxpool.metrics import ConfusionMatrix
from tests.ranks import in_ranks
from tests.tolerances import ORACLE

IGNORE = 255


def naive_counts(prediction: Tensor, target: Tensor, C: int) -> list[list[int]]:
    counts = [[0] * C for _ in range(C)]
    pixels = zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True)
    for predicted, true in pixels:
        if true != IGNORE:
            counts[true][predicted] += 1
    return counts


def naive_iou(counts: list[list[int]]) -> list[float]:
    C = len(counts)
    ious = []
    for c in range(C):
        union = sum(counts[c]) + sum(counts[i][c] for i in range(C)) - counts[c][c]
        ious.append(counts[c][c] / union if union else math.nan)
    return ious


def random_pair(seed: int, C: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(C, (2, 7, 9), generator=generator)
    target = torch.randint(C + 1, (2, 7, 9), generator=generator)
    return prediction, torch.where(target == C, IGNORE, target)


def matrix_of(prediction: Tensor, target: Tensor, C: int = 4) -> ConfusionMatrix:
    matrix = ConfusionMatrix(C)
    matrix.update(prediction, target, IGNORE)
    return matrix


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), C=st.integers(1, 6))
def test_equals_a_loop_over_the_pixels(seed: int, C: int) -> None:
    prediction, target = random_pair(seed, C)
    matrix = matrix_of(prediction, target, C)
    expected = naive_counts(prediction, target, C)
    assert matrix.counts.dtype == torch.int64
    assert matrix.counts.tolist() == expected
    assert matrix.iou().tolist() == pytest.approx(naive_iou(expected), nan_ok=True, abs=ORACLE)
    valid = target != IGNORE
    accuracy = (prediction == target)[valid].double().mean()
    assert matrix.pixel_accuracy() == pytest.approx(float(accuracy), nan_ok=True)
    for c, recall in enumerate(matrix.recall().tolist()):
        of_class = target == c
        expected_recall = (prediction[of_class] == c).double().mean()
        assert recall == pytest.approx(float(expected_recall), nan_ok=True)
    for c, (precision, dice) in enumerate(
        zip(matrix.precision().tolist(), matrix.dice().tolist(), strict=True)
    ):
        predicted, true = (prediction == c) & valid, target == c
        expected_precision = (target[predicted] == c).double().mean()
        assert precision == pytest.approx(float(expected_precision), nan_ok=True)
        size = int(predicted.sum() + true.sum())
        expected_dice = 2 * int((predicted & true).sum()) / size if size else math.nan
        assert dice == pytest.approx(expected_dice, nan_ok=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_dtype_counts_the_same(dtype: torch.dtype) -> None:
    prediction, target = random_pair(1)
    assert torch.equal(
        matrix_of(prediction.to(dtype), target.to(dtype)).counts,
        matrix_of(prediction, target).counts,
    )


def test_a_class_nowhere_is_left_out_and_a_false_alarm_counts_zero() -> None:
    target = torch.tensor([[[0, 0, 0, 1]]])
    prediction = torch.tensor([[[0, 0, 2, 1]]])
    matrix = matrix_of(prediction, target)  # class 2 predicted only, class 3 nowhere
    iou = matrix.iou().tolist()
    assert iou[:3] == pytest.approx([2 / 3, 1.0, 0.0])
    assert math.isnan(iou[3])
    assert matrix.miou() == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_miou_is_of_the_sums_and_not_a_mean_over_images() -> None:
    # One image with a single wrong pixel of class 1, one with a thousand right ones.
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([[[0]]]), torch.tensor([[[1]]]))
    matrix.update(torch.ones(1, 1, 1000).long(), torch.ones(1, 1, 1000).long())
    assert matrix.iou().tolist() == pytest.approx([0.0, 1000 / 1001])


def test_ignored_pixels_do_not_exist() -> None:
    prediction, target = random_pair(3)
    padded_target = torch.cat([target, torch.full_like(target, IGNORE)])
    # Any prediction is allowed there, even an invalid class id.
    padded_prediction = torch.cat([prediction, torch.full_like(prediction, 99)])
    assert torch.equal(
        matrix_of(padded_prediction, padded_target).counts, matrix_of(prediction, target).counts
    )


def test_nothing_valid_gives_nan_and_not_a_number() -> None:
    matrix = matrix_of(torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), IGNORE))
    assert math.isnan(matrix.miou())
    assert math.isnan(matrix.pixel_accuracy())
    assert matrix.recall().isnan().all()


def test_parts_add_up_to_the_whole() -> None:
    left, right = random_pair(4), random_pair(5)
    whole = ConfusionMatrix(4)
    whole.update(*left)
    whole.update(*right)
    total = matrix_of(*left) + matrix_of(*right)
    assert torch.equal(total.counts, whole.counts)
    assert torch.equal(total.reduce().counts, whole.counts)  # no process group: a copy


def test_counts_beyond_32_bits_are_exact() -> None:
    big = torch.tensor([[2**40 + 1, 0], [1, 0]])
    total = ConfusionMatrix.from_counts(big) + ConfusionMatrix.from_counts(big)
    assert total.counts[0, 0] == 2 * (2**40 + 1)


def test_the_matrix_does_not_share_memory_with_what_it_was_made_of() -> None:
    counts = torch.ones(2, 2, dtype=torch.int64)
    matrix = ConfusionMatrix.from_counts(counts)
    matrix.update(torch.zeros(1, 1, 1).long(), torch.zeros(1, 1, 1).long())
    assert counts.sum() == 4


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 4, 4).long(), "upsample the logits"),
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).long(), "prediction has dtype torch.float32"),
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 2).bool(), "target has dtype torch.bool"),
        (torch.full((1, 2, 2), 4), torch.zeros(1, 2, 2).long(), "prediction has class ids"),
        (torch.full((1, 2, 2), -1), torch.zeros(1, 2, 2).long(), "prediction has class ids"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 11), "from 11 to 11; expected 0 to 3"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), -1), "target has class ids from -1"),
    ],
)
def test_bad_pixels_are_refused_and_change_nothing(
    prediction: Tensor, target: Tensor, message: str
) -> None:
    matrix = ConfusionMatrix(4)
    with pytest.raises(ValueError, match=message):
        matrix.update(prediction, target, IGNORE)
    assert matrix.counts.sum() == 0


def test_bad_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match=r"expected \(C, C\)"):
        ConfusionMatrix.from_counts(torch.zeros(2, 3).long())
    with pytest.raises(ValueError, match="dtype"):
        ConfusionMatrix.from_counts(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="negative"):
        ConfusionMatrix.from_counts(torch.full((2, 2), -1))
    with pytest.raises(ValueError, match="3 and 2 classes"):
        ConfusionMatrix(3) + ConfusionMatrix(2)


def _count_rank(rank: int, size: int, folder: Path) -> None:
    matrix = matrix_of(*random_pair(rank)).reduce()
    expected = matrix_of(*random_pair(0)) + matrix_of(*random_pair(1))
    assert torch.equal(matrix.counts, expected.counts)


def test_ranks_add_up(tmp_path: Path) -> None:
    in_ranks(_count_rank, 2, tmp_path)


def test_a_matrix_says_what_it_is() -> None:
    matrix = ConfusionMatrix(2)
    assert repr(matrix) == "ConfusionMatrix(num_classes=2, 0 pixels, mIoU nan %)"
    matrix.update(torch.tensor([[0, 1]]), torch.tensor([[0, 0]]))
    assert repr(matrix) == "ConfusionMatrix(num_classes=2, 2 pixels, mIoU 25.0 %)"
