from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossmaxpool.classes import count_classes
from lossmaxpool.sampling import random_pixel
from tests.sampling.scenes import ACCEPTED, count, masks, plausibility


@given(st.integers(0, 2**31), st.integers(0, 2**62), st.floats(0.02, 0.9))
def test_the_pixel_has_the_class(mask_seed: int, seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(mask_seed)
    mask = (torch.rand(13, 9, generator=generator) < share).to(torch.uint8)
    mask[4, 7] = 1
    row, column = random_pixel(mask, 1, seed)
    assert mask[row, column] == 1


def test_pixels_of_the_class_are_equally_likely() -> None:
    mask = masks()[0]
    places = (mask == 3).nonzero().tolist()
    number = {(row, column): i for i, (row, column) in enumerate(places)}
    drawn = [number[random_pixel(mask, 3, seed)] for seed in range(4000)]
    assert plausibility(count(drawn, len(places)), [1] * len(places)) > ACCEPTED


def test_the_seed_decides_whatever_the_memory_looks_like() -> None:
    mask = masks()[0]
    transposed = mask.t().contiguous().t()
    assert not transposed.is_contiguous()
    assert random_pixel(mask, 0, 7) == random_pixel(transposed, 0, 7)
    assert random_pixel(mask.long(), 0, 7) == random_pixel(mask, 0, 7)


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no pixel of class 2, which the class index promised"):
        random_pixel(torch.zeros(3, 3, dtype=torch.uint8), 2, 0)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.int16, torch.int32, torch.int64]
)
def test_counts(dtype: torch.dtype) -> None:
    mask = torch.tensor([[0, 1, 1], [2, 2, 2]], dtype=dtype)
    assert count_classes(mask, 4, ignore_index=2).tolist() == [1, 2, 0, 0]
    assert count_classes(mask[:0], 4, ignore_index=2).tolist() == [0, 0, 0, 0]


def test_a_negative_ignored_value() -> None:
    mask = torch.tensor([[0, -100], [1, 1]])
    assert count_classes(mask, 2, ignore_index=-100).tolist() == [1, 2]


@pytest.mark.parametrize("mask", [torch.tensor([[4]]), torch.tensor([[-1]])])
def test_ids_outside_the_classes_are_refused(mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected 0 to 3, or 255 for ignored"):
        count_classes(mask, 4, ignore_index=255)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_masks_hold_integers(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="must hold integer class ids"):
        count_classes(torch.zeros(2, 2, dtype=dtype), 4, ignore_index=255)


def test_a_mask_is_a_tensor() -> None:
    with pytest.raises(ValueError, match=r"must be a tensor .* got list: torch.as_tensor"):
        count_classes([[0, 1]], 4, ignore_index=255)  # type: ignore[arg-type]
