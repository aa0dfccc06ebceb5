from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lossmaxpool.data import DataError, LabelSet, Sample, SegmentationDataset
from lossmaxpool.data.sample import check_first_sample


def test_a_label_set_counts_its_classes() -> None:
    assert LabelSet(("a", "b"), ((0, 0, 0), (1, 2, 3))).num_classes == 2


@pytest.mark.parametrize(
    ("names", "colors", "match"),
    [
        (("a",), ((0, 0, 0),), "2 to 254 classes, got 1"),
        (tuple(map(str, range(255))), ((0, 0, 0),) * 255, "got 255"),
        (("a", "a"), ((0, 0, 0),) * 2, "repeated: a"),
        (("a", ""), ((0, 0, 0),) * 2, "an empty name"),
        (("a", "b"), ((0, 0, 0),), "2 colors, got 1"),
        (("a", "b"), ((0, 0, 0), (0, 0, 256)), r"'b' must be three values of 0\.\.255"),
        (("a", "b"), ((0, 0, 0), (0, 0)), "'b' must be three values"),
    ],
)
def test_bad_label_sets(
    names: tuple[str, ...], colors: tuple[tuple[int, int, int], ...], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        LabelSet(names, colors)


class Own(SegmentationDataset):
    """Somebody's own data set, of one item."""

    def __init__(self, item: Any, mask: Any = None) -> None:
        self.item, self._mask = item, item.mask if mask is None else mask
        self.name, self.labels = "own", LabelSet(("a", "b"), ((0, 0, 0), (1, 2, 3)))

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self.item
        return sample

    def mask(self, index: int) -> Tensor:
        mask: Tensor = self._mask
        return mask

    def sample_name(self, index: int) -> str:
        return "0"


IMAGE, MASK = torch.zeros(3, 4, 6, dtype=torch.uint8), torch.zeros(4, 6, dtype=torch.uint8)


def test_a_first_sample_as_it_should_be_passes() -> None:
    check_first_sample(Own(Sample(IMAGE, MASK, "0")))


@pytest.mark.parametrize(
    ("item", "mask", "match"),
    [
        ((IMAGE, MASK), MASK, "Item 0 of own is a tuple: expected a Sample"),
        (Sample(IMAGE / 255, MASK, ""), MASK, r"image of item 0 of own is torch\.float32"),
        (Sample(IMAGE[0], MASK, ""), MASK, r"shape \(4, 6\): .* of shape \(3, H, W\)"),
        (Sample(IMAGE.movedim(0, 2), MASK, ""), MASK, r"shape \(4, 6, 3\)"),
        (Sample(IMAGE.numpy(), MASK, ""), MASK, "is a ndarray: expected a tensor"),  # type: ignore[arg-type]
        (Sample(IMAGE, MASK.long(), ""), MASK, r"mask of item 0 of own is torch\.int64"),
        (Sample(IMAGE, MASK[:2], ""), MASK, r"of shape \(2, 6\): expected .* as the image's"),
        (Sample(IMAGE, MASK, ""), MASK[None], r"mask\(0\) of item 0 of own .* \(1, 4, 6\)"),
    ],
)
def test_a_first_sample_of_another_form_is_one_line(item: Any, mask: Any, match: str) -> None:
    with pytest.raises(DataError, match=match) as error:
        check_first_sample(Own(item, mask))
    assert "\n" not in str(error.value)


def test_a_data_set_without_images_or_labels_is_one_line() -> None:
    dataset = Own(Sample(IMAGE, MASK, "0"))
    dataset.labels = ("a", "b")  # type: ignore[assignment]
    with pytest.raises(DataError, match="Own needs the attributes labels, a LabelSet"):
        check_first_sample(dataset)
