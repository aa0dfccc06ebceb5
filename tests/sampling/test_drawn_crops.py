from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossmaxpool.sampling import Draw, DrawnCrops
from tests.sampling.scenes import ACCEPTED, count, masks, pairs, plausibility

SEEDS = st.integers(0, 2**62)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(1, 4), SEEDS, st.data())
def test_the_crop_contains_the_pixel(
    height: int, width: int, scale: float, seed: int, data: st.DataObject
) -> None:
    """At scales of 1 and more no pixel is skipped: a single one must show."""
    mask = torch.zeros(height, width, dtype=torch.uint8)
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    mask[row, column] = 1
    crops = DrawnCrops(pairs([mask]), (12, 17), scale_range=(scale, scale))
    image, target = crops[Draw(0, seed, focus=1)]
    assert (target == 1).any()
    if scale == 1:
        (y, x) = (target == 1).nonzero()[0].tolist()
        assert image[:, y, x].tolist() == [row, column, 1]


@given(st.floats(0.1, 1), SEEDS, st.integers(0, 59), st.integers(0, 79))
def test_the_crop_contains_the_pixel_when_it_is_scaled_down(
    scale: float, seed: int, row: int, column: int
) -> None:
    """New pixels cover several old ones: the crop's pixels tell where in the source they are."""
    mask = torch.zeros(60, 80, dtype=torch.uint8)
    mask[row, column] = 1
    crops = DrawnCrops(pairs([mask]), (16, 16), scale_range=(scale, scale))
    image, target = crops[Draw(0, seed, focus=1)]
    place = torch.tensor([row, column])
    inside = image[:2, target != 255]
    assert (inside.amin(1) - 1 / scale <= place).all()
    assert (place <= inside.amax(1) + 1 / scale).all()


@given(SEEDS)
def test_image_and_mask_stay_together(seed: int) -> None:
    crops = DrawnCrops(pairs(masks(1)), (24, 24), scale_range=(1, 1), fill=-1)
    image, target = crops[Draw(0, seed)]
    inside = image[0] >= 0
    assert torch.equal(image[2][inside].long(), target[inside])
    assert (target[~inside] == 255).all()
    assert inside.sum() == 20 * 24


def test_every_place_of_the_crop_may_hold_the_pixel() -> None:
    mask = torch.zeros(50, 50, dtype=torch.uint8)
    mask[25, 25] = 1
    crops = DrawnCrops(pairs([mask]), (4, 5), scale_range=(1, 1))
    places = [int((crops[Draw(0, s, focus=1)][1] == 1).flatten().nonzero()) for s in range(2000)]
    assert plausibility(count(places, 20), [1] * 20) > ACCEPTED


def test_a_pure_function_of_the_draw() -> None:
    crops = DrawnCrops(pairs(masks()), (9, 11))
    before = torch.get_rng_state()
    first = [crops[Draw(i % 12, i)] for i in range(30)]
    again = [crops[Draw(i % 12, i)] for i in reversed(range(30))][::-1]
    assert torch.equal(torch.get_rng_state(), before)
    for (image, target), (image_2, target_2) in zip(first, again, strict=True):
        assert torch.equal(image, image_2)
        assert torch.equal(target, target_2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_dtypes(dtype: torch.dtype) -> None:
    image = torch.randint(0, 256, (3, 30, 20), generator=torch.Generator().manual_seed(0)).to(dtype)
    crops = DrawnCrops([(image, torch.zeros(30, 20, dtype=torch.int32))], (8, 8), fill=7)
    for seed in range(20):
        crop, target = crops[Draw(0, seed)]
        assert (crop.dtype, target.dtype) == (dtype, torch.int64)
        assert 0 <= crop.min() <= crop.max() <= 255


def test_the_transform_makes_the_item() -> None:
    def half(image: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"image": image / 2, "mask": target}

    data = pairs(masks())
    plain, halved = DrawnCrops(data, (8, 8)), DrawnCrops(data, (8, 8), transform=half)
    image, target = plain[Draw(3, 5)]
    assert torch.equal(halved[Draw(3, 5)]["image"] * 2, image)
    assert torch.equal(halved[Draw(3, 5)]["mask"], target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_size": (0, 4)}, r"crop_size must be positive, got \(0, 4\)"),
        ({"crop_size": (4, 4), "scale_range": (0, 1)}, "0 < low <= high"),
        ({"crop_size": (4, 4), "scale_range": (2, 1)}, "0 < low <= high"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DrawnCrops(pairs(masks(1)), **options)


def test_bad_items() -> None:
    crops = DrawnCrops([(torch.zeros(3, 4, 4), torch.zeros(4, 5).long())], (2, 2))
    with pytest.raises(ValueError, match=r"item 0 has an image \(3, 4, 4\) and a mask \(4, 5\)"):
        crops[Draw(0, 0)]


def test_a_mask_that_the_index_does_not_describe() -> None:
    with pytest.raises(ValueError, match="no pixel of class 3, which the class index promised"):
        DrawnCrops(pairs(masks()), (4, 4))[Draw(1, 0, focus=3)]
