from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lossmaxpool.metrics import BINS, ConfusionMatrix, ReliabilityBins
from tests.ranks import in_ranks
from tests.tolerances import FLOAT64, ORACLE

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


def random_bins(seed: int, C: int = 4, parts: int = 1024) -> tuple[Tensor, Tensor]:
    """Probabilities (2, C, 5, 6) in exact steps of 1 / parts, some of them 0, and labels."""
    generator = torch.Generator().manual_seed(seed)
    cuts = torch.randint(parts + 1, (2, C - 1, 5, 6), generator=generator).sort(1).values
    ends = torch.full((2, 1, 5, 6), parts)
    counts = torch.cat((cuts, ends), 1) - torch.cat((torch.zeros_like(ends), cuts), 1)
    target = torch.randint(C + 1, (2, 5, 6), generator=generator)
    return counts / parts, torch.where(target == C, IGNORE, target)


def bins_of(*batches: tuple[Tensor, Tensor], C: int = 4) -> ReliabilityBins:
    bins = ReliabilityBins(C)
    for probabilities, target in batches:
        bins.update(probabilities, target, IGNORE)
    return bins


def naive_error(pairs: list[tuple[Fraction, bool]]) -> Fraction:
    """The expected calibration error as it is printed, in exact fractions."""
    error = Fraction(0)
    for b in range(1, BINS + 1):
        inside = [
            (p, hit)
            for p, hit in pairs
            if Fraction(b - 1, BINS) < p <= Fraction(b, BINS) or (b == 1 and p == 0)
        ]
        error += abs(sum((Fraction(hit) - p for p, hit in inside), Fraction(0)))
    return error / len(pairs)


@pytest.mark.parametrize("seed", range(5))
def test_calibration_errors_equal_a_loop_over_the_pixels_in_exact_fractions(seed: int) -> None:
    probabilities, target = random_bins(seed)
    bins = bins_of((probabilities, target))
    flat = probabilities.movedim(1, -1).reshape(-1, 4).tolist()
    pixels = [
        ([Fraction(p) for p in each], true)
        for each, true in zip(flat, target.flatten().tolist(), strict=True)
        if true != IGNORE
    ]
    top = [(max(each), each.index(max(each)) == true) for each, true in pixels]
    assert int(bins.pixels().sum()) == len(pixels)
    assert bins.ece() == pytest.approx(float(naive_error(top)), abs=FLOAT64)
    own = [float(naive_error([(each[c], c == true) for each, true in pixels])) for c in range(4)]
    assert bins.class_ece().tolist() == pytest.approx(own, abs=FLOAT64)
    assert bins.classwise_ece() == pytest.approx(sum(own) / 4, abs=FLOAT64)
    gap = sum(p - hit for p, hit in top) / len(top)
    assert bins.overconfidence() == pytest.approx(float(gap), abs=FLOAT64)


def test_order_batches_and_ranks_do_not_change_a_bit() -> None:
    first, second = random_bins(0), random_bins(1)
    together = tuple(torch.cat(pair) for pair in zip(first, second, strict=True))
    whole = bins_of((together[0], together[1])).sums
    assert torch.equal(whole, bins_of(second, first).sums)
    total = bins_of(first) + bins_of(second)
    assert torch.equal(whole, total.sums)
    assert torch.equal(whole, total.reduce().sums)  # no process group: a copy
    softmax = torch.randn(2, 4, 50, 60, generator=torch.Generator().manual_seed(0)).softmax(1)
    target = torch.zeros(2, 50, 60, dtype=torch.uint8)
    parts = [(softmax[..., k::7], target[..., k::7]) for k in range(7)]
    assert torch.equal(bins_of((softmax, target)).sums, bins_of(*parts).sums)


def _bin_rank(rank: int, size: int, folder: Path) -> None:
    expected = bins_of(random_bins(0), random_bins(1)).sums
    assert torch.equal(bins_of(random_bins(rank)).reduce().sums, expected)


def test_the_bins_of_ranks_add_up(tmp_path: Path) -> None:
    in_ranks(_bin_rank, 2, tmp_path)


def test_a_bin_ends_with_its_upper_bound() -> None:
    # Next to 1 / 5, which ends the third bin, in the unit of the sums.
    edges = torch.tensor([0.0, 2**-20, 3355443 / 2**24, 3355444 / 2**24, 0.25, 1.0])
    both = torch.stack((edges, torch.zeros(6)))[None]
    bins = bins_of((both, torch.zeros(1, 6).long()), C=2)
    expected = [0] * BINS
    for b in (0, 0, 2, 3, 3, 14):
        expected[b] += 1
    assert bins.sums[1, :, 0].tolist() == expected
    assert bins.sums[1, :, 1].tolist() == expected


def test_a_network_that_is_as_often_right_as_it_says_has_no_error() -> None:
    probabilities = torch.tensor([0.75, 0.25]).view(1, 2, 1).expand(1, 2, 8)
    target = torch.tensor([[0] * 6 + [1] * 2])
    bins = bins_of((probabilities, target), C=2)
    assert bins.ece() == bins.classwise_ece() == bins.overconfidence() == 0
    said = bins.as_dict()
    assert said["pixels"][11] == 8
    assert said["confidence"][11] == said["accuracy"][11] == 0.75
    assert said["accuracy"][0] is None
    assert repr(bins) == "ReliabilityBins(num_classes=2, 8 pixels, ECE 0.0 %)"


def test_without_a_valid_pixel_there_is_no_error() -> None:
    bins = bins_of((torch.full((1, 4, 2), 0.25), torch.full((1, 2), IGNORE)))
    assert math.isnan(bins.ece())
    assert math.isnan(bins.classwise_ece())
    assert bins.as_dict()["ece"] is None


@pytest.mark.parametrize(
    ("probabilities", "target", "message"),
    [
        (torch.zeros(1, 3, 2), torch.zeros(1, 2).long(), r"expected \(1, 4, 2\) for 4 classes"),
        (torch.zeros(1, 4, 2), torch.zeros(1, 3).long(), "probabilities has shape"),
        (torch.zeros(1, 4, 2).long(), torch.zeros(1, 2).long(), "dtype torch.int64"),
        (torch.zeros(1, 4, 2), torch.zeros(1, 2), "target has dtype torch.float32"),
        (torch.full((1, 4, 2), 1.5), torch.zeros(1, 2).long(), "give the softmax"),
        (torch.full((1, 4, 2), -0.1), torch.zeros(1, 2).long(), "give the softmax"),
        (torch.full((1, 4, 2), math.nan), torch.zeros(1, 2).long(), "from nan to nan"),
        (torch.zeros(1, 4, 2), torch.full((1, 2), 4), "from 4 to 4; expected 0 to 3, or 255"),
    ],
)
def test_bins_explain_bad_input(probabilities: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bins_of((probabilities, target))


def test_bins_of_other_classes_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="bins of 2 and 3 classes"):
        ReliabilityBins(2) + ReliabilityBins(3)
    with pytest.raises(ValueError, match="need at least 1"):
        ReliabilityBins(0)
