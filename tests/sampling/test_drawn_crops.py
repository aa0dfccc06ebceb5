from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from lossmaxpool.data.sample import Sample
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
        ({"crop_size": (0, 4)}, r"crop_size must be positive, .* got \(0, 4\)"),
        ({"crop_size": 0}, "crop_size must be positive, .* got 0"),
        ({"crop_size": (4, 4, 4)}, r"\(height, width\) or one number for both, got \(4, 4, 4\)"),
        ({"crop_size": (4.5, 4)}, r"one number for both, got \(4.5, 4\)"),
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


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)),
            r"item 0 has a ndarray as its image.*torch.as_tensor\(numpy.array\(image\)\).permute",
        ),
        (
            (Image.new("RGB", (5, 4)), Image.new("L", (5, 4))),
            r"item 0 has a Image as its image.*numpy.array\(image\)",
        ),
        (
            (torch.zeros(3, 4, 5), np.zeros((4, 5), np.uint8)),
            r"item 0 has a ndarray as its mask.*return torch.as_tensor\(numpy.array\(mask\)\)",
        ),
        ({"pixels": 1, "label": 2}, 'is a dict with the keys pixels, label.*"image" and "mask"'),
        ((torch.zeros(3, 4, 5), torch.zeros(4, 5).long(), "a"), "is a tuple of 3; expected"),
        (torch.zeros(3, 4, 5), "is a Tensor; expected an image"),
        ((torch.zeros(3, 4, 5), torch.zeros(4, 5)), r"mask of torch.float32.*use mask.long\(\)"),
        ((torch.zeros(4, 5, 3), torch.zeros(4, 5).long()), r"permute\(2, 0, 1\) puts channels"),
        ((torch.zeros(4, 5), torch.zeros(4, 5).long()), r"image\[None\] adds a missing one"),
        ((torch.zeros(3, 4, 5), torch.zeros(1, 4, 5).long()), r"mask.squeeze\(0\) takes one"),
    ],
)
def test_items_of_another_kind_are_answered_with_the_remedy(item: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DrawnCrops([item], (2, 2))[Draw(0, 0)]


def test_the_remedies_are_right() -> None:
    image, mask = Image.new("RGB", (5, 4), (1, 2, 3)), Image.new("L", (5, 4), 1)
    pair = (torch.as_tensor(np.array(image)).permute(2, 0, 1), torch.as_tensor(np.array(mask)))
    crop, target = DrawnCrops([pair], 2, scale_range=(1, 1))[Draw(0, 0, focus=1)]
    assert crop[:, 0, 0].tolist() == [1, 2, 3]
    assert target.tolist() == [[1, 1], [1, 1]]


def test_pairs_keys_and_attributes_are_the_same() -> None:
    data = pairs(masks())
    keys = [{"image": image, "mask": mask, "name": "a"} for image, mask in data]
    samples = [Sample(image, mask, "a") for image, mask in data]
    for draw in (Draw(3, 5), Draw(0, 6, focus=2)):
        expected, target = DrawnCrops(data, 8)[draw]
        for other in (keys, samples):
            crop, labels = DrawnCrops(other, (8, 8))[draw]
            assert torch.equal(crop, expected)
            assert torch.equal(labels, target)


def test_one_number_is_height_and_width() -> None:
    image, target = DrawnCrops(pairs(masks()), 7)[Draw(0, 0)]
    assert (image.shape[1:], target.shape) == ((7, 7), (7, 7))


def test_a_plain_number_is_no_address() -> None:
    loader = DataLoader(DrawnCrops(pairs(masks()), 7), batch_size=2)
    with pytest.raises(TypeError, match=r"addressed by draws, got the number 0.*as batch_sampler"):
        next(iter(loader))


def test_a_mask_that_the_index_does_not_describe() -> None:
    with pytest.raises(ValueError, match="no pixel of class 3, which the class index promised"):
        DrawnCrops(pairs(masks()), (4, 4))[Draw(1, 0, focus=3)]
