"""median_frequency_weights: the median class frequency over the class's own."""

from __future__ import annotations

import statistics

import pytest
import torch
import torch.nn.functional as F

from lossmaxpool import MaxPoolingCrossEntropyLoss, median_frequency_weights
from tests.cases import labeled
from tests.tolerances import FLOAT32, FLOAT64


def by_hand(counts: list[list[int]]) -> list[float]:
    """One class at a time, directly from the definition in the paper."""
    frequencies: dict[int, float] = {}
    for c in range(len(counts[0])):
        holding = [image for image in counts if image[c] > 0]
        if holding:
            frequencies[c] = sum(image[c] for image in holding) / sum(map(sum, holding))
    median = statistics.median(frequencies.values())
    return [median / frequencies[c] if c in frequencies else 0.0 for c in range(len(counts[0]))]


@pytest.mark.parametrize("classes", [1, 2, 5, 8])
@pytest.mark.parametrize("images", [1, 2, 30])
def test_equals_a_loop_over_the_classes(images: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(images + 100 * classes)
    counts = torch.randint(0, 1000, (images, classes), generator=generator)
    counts[torch.rand(counts.shape, generator=generator) < 0.4] = 0
    counts[0, 0] = 1
    weights = median_frequency_weights(counts)
    assert weights.dtype == torch.float64
    assert weights.tolist() == pytest.approx(by_hand(counts.tolist()), rel=FLOAT64)


def test_only_images_that_hold_the_class_are_in_its_denominator() -> None:
    # Class 1 fills half of its only image. Over all images its frequency would be 1/200.
    counts = torch.tensor([[50, 50]] + 99 * [[100, 0]])
    weights = median_frequency_weights(counts)
    assert float(weights[0] / weights[1]) == pytest.approx(0.5 / (9950 / 10000))


def test_the_median_class_weighs_one() -> None:
    weights = median_frequency_weights(torch.tensor([[700, 200, 100]]))
    assert weights.tolist() == pytest.approx([2 / 7, 1.0, 2.0])


def test_a_class_without_a_pixel_weighs_nothing_and_leaves_the_median_alone() -> None:
    counts = torch.tensor([[700, 200, 100]])
    wider = torch.tensor([[700, 0, 200, 100, 0]])
    weights = median_frequency_weights(wider)
    assert weights[[1, 4]].tolist() == [0.0, 0.0]
    assert torch.equal(weights[[0, 2, 3]], median_frequency_weights(counts))


def test_an_image_without_a_valid_pixel_changes_nothing() -> None:
    counts = torch.tensor([[700, 200, 100], [10, 0, 3]])
    empty = torch.zeros(1, 3, dtype=torch.int64)
    assert torch.equal(
        median_frequency_weights(torch.cat([counts, empty])), median_frequency_weights(counts)
    )


def test_counts_beyond_32_bits() -> None:
    counts = torch.tensor([[2**40, 2**38]])
    assert median_frequency_weights(counts).tolist() == pytest.approx([0.625, 2.5])


def test_the_weights_are_class_weights_of_a_loss() -> None:
    logits, target = labeled(2, 5, 9, 11)
    counts = torch.stack([image.flatten().bincount(minlength=5) for image in target])
    weights = median_frequency_weights(counts)
    losses = F.cross_entropy(logits, target, weight=weights.float(), reduction="none")
    ours = MaxPoolingCrossEntropyLoss(p=float("inf"), weight=weights)(logits, target)
    assert float(ours) == pytest.approx(float(losses.mean()), rel=FLOAT32)


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        (torch.ones(2, 3), TypeError, "integer counts, got torch.float32: pass pixels per image"),
        (torch.ones(2, 3).bool(), TypeError, "integer counts, got torch.bool"),
        (torch.ones(3).long(), ValueError, r"must be \(num_images, C\), got shape \(3,\)"),
        (torch.ones(1, 2, 3).long(), ValueError, r"got shape \(1, 2, 3\)"),
        (torch.tensor([[3, -1]]), ValueError, "holds negative counts"),
        (torch.zeros(2, 3).long(), ValueError, "no pixel of any class: is everything ignored"),
        (torch.zeros(0, 3).long(), ValueError, "no pixel of any class"),
    ],
)
def test_bad_counts_are_refused(counts: torch.Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        median_frequency_weights(counts)
