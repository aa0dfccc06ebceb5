from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader

from lossmaxpool.data import (
    IGNORE_INDEX,
    AugmentedDataset,
    EvalTransform,
    Sample,
    StreetScenes,
    TrainTransform,
)
from lossmaxpool.sampling import Draw
from tests.tolerances import PIXEL_VALUES

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
"""Pixels come out as their value / 255."""


def coded(height: int, width: int, seed: int = 0, block: int = 8) -> Sample:
    """An image whose value is its class id times 20, in blocks."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = -(-height // block), -(-width // block)
    coarse = torch.randint(0, 8, (rows, columns), generator=generator, dtype=torch.uint8)
    mask = coarse.repeat_interleave(block, 0).repeat_interleave(block, 1)[:height, :width]
    return Sample((20 * mask).expand(3, -1, -1).contiguous(), mask.contiguous(), "coded")


def decoded(image: Tensor) -> Tensor:
    return (image[0] * 255 / 20).round().long()


@given(
    seed=st.integers(0, 2**63 - 1),
    height=st.integers(5, 90),
    width=st.integers(5, 90),
    crop=st.tuples(st.integers(4, 60), st.integers(4, 60)),
)
@settings(max_examples=60)
def test_shapes_types_and_ids(seed: int, height: int, width: int, crop: tuple[int, int]) -> None:
    sample = coded(height, width)
    image, mask = TrainTransform(crop)(sample, seed)
    assert image.shape == (3, *crop)
    assert mask.shape == crop
    assert image.dtype == torch.float32
    assert mask.dtype == torch.int64
    assert set(mask.unique().tolist()) <= {*sample.mask.unique().tolist(), IGNORE_INDEX}
    assert (mask != IGNORE_INDEX).any()
    assert image.isfinite().all()
    # Where the mask is padded, the image is of the mean color, which is 0.
    assert (image[:, mask == IGNORE_INDEX] == 0).all()


@given(seed=st.integers(0, 2**63 - 1))
@settings(max_examples=40)
def test_image_and_mask_stay_together_without_scaling(seed: int) -> None:
    image, mask = TrainTransform((40, 56), (1.0, 1.0), **PLAIN)(coded(64, 48), seed)
    valid = mask != IGNORE_INDEX
    assert torch.equal(decoded(image)[valid], mask[valid])


@given(seed=st.integers(0, 2**63 - 1))
@settings(max_examples=40)
def test_image_and_mask_stay_together_under_scaling(seed: int) -> None:
    """Interpolation blends at the borders of blocks: compare where the neighborhood is one id."""
    image, mask = TrainTransform((48, 64), (0.7, 2.0), **PLAIN)(coded(80, 96, block=16), seed)
    same = torch.ones_like(mask, dtype=torch.bool)
    for shift in ((0, 3), (0, -3), (1, 3), (1, -3)):
        same &= mask.roll(shift[1], shift[0]) == mask
    same[:3] = same[-3:] = False
    same[:, :3] = same[:, -3:] = False
    same &= mask != IGNORE_INDEX
    assert same.any()
    assert torch.equal(decoded(image)[same], mask[same])


def test_half_of_the_crops_are_flipped() -> None:
    ramp = torch.arange(16, dtype=torch.uint8).expand(8, 16).contiguous()
    sample = Sample(ramp.expand(3, -1, -1).contiguous(), ramp, "ramp")
    transform = TrainTransform((8, 16), (1.0, 1.0), **PLAIN)
    flipped = sum(int(transform(sample, seed)[1][0, 0] == 15) for seed in range(400))
    assert 150 < flipped < 250
    plain = TrainTransform((8, 16), (1.0, 1.0), flip=False)
    assert all(plain(sample, seed)[1][0, 0] == 0 for seed in range(20))


def test_scales_cover_their_range() -> None:
    """A mask of one-pixel columns: the number of distinct columns in a crop gives the scale."""
    columns = torch.arange(200, dtype=torch.uint8).expand(40, 200).contiguous()
    sample = Sample(columns.expand(3, -1, -1).contiguous(), columns, "columns")
    transform = TrainTransform((20, 60), (0.5, 2.0))
    seen = [len(transform(sample, seed)[1].unique()) for seed in range(200)]
    assert min(seen) < 34
    assert max(seen) == 60


def test_crops_come_from_everywhere() -> None:
    sample = coded(64, 96)
    transform = TrainTransform((32, 32), (1.0, 1.0), flip=False)
    crops = {tuple(transform(sample, seed)[1].flatten().tolist()) for seed in range(60)}
    assert len(crops) > 50


@given(seed=st.integers(0, 2**63 - 1))
@settings(max_examples=20)
def test_a_pure_function_that_leaves_the_global_state_alone(seed: int) -> None:
    transform = TrainTransform((32, 32), color_jitter=0.3)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = transform(coded(50, 60), seed)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    again = transform(coded(50, 60), seed)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_neighboring_seeds_differ() -> None:
    transform = TrainTransform((32, 32))
    images = [transform(coded(90, 90), seed)[0] for seed in range(10)]
    assert all(not torch.equal(a, b) for a, b in pairwise(images))


def test_color_jitter_changes_the_image_alone() -> None:
    sample = coded(40, 40)
    plain = TrainTransform((32, 32))(sample, 5)
    jittered = TrainTransform((32, 32), color_jitter=0.4)(sample, 5)
    assert torch.equal(plain[1], jittered[1])
    assert not torch.equal(plain[0], jittered[0])


def test_hue_jitter_alone_keeps_gray_and_turns_colors() -> None:
    sample = coded(40, 40)
    gray = Sample(sample.image[:1].expand(3, -1, -1).contiguous(), sample.mask, "gray")
    plain, turned = TrainTransform((32, 32)), TrainTransform((32, 32), hue_jitter=0.3)
    torch.testing.assert_close(plain(gray, 5), turned(gray, 5))
    red = Sample(
        torch.tensor([200, 30, 30], dtype=torch.uint8).view(3, 1, 1).expand(3, 40, 40),
        sample.mask,
        "red",
    )
    assert not torch.equal(plain(red, 5)[0], turned(red, 5)[0])
    # The brightness does not depend on whether the hue changes.
    both = TrainTransform((32, 32), color_jitter=0.3, hue_jitter=0.3)
    torch.testing.assert_close(
        both(gray, 5)[0], TrainTransform((32, 32), color_jitter=0.3)(gray, 5)[0]
    )


def test_evaluation_keeps_size_and_normalizes() -> None:
    sample = coded(30, 50)
    transform = EvalTransform(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))
    image, mask = transform(sample)
    assert torch.equal(mask, sample.mask.long())
    for c, (mean, std) in enumerate(zip(transform.mean, transform.std, strict=True)):
        expected = (sample.image[c].double() / 255 - mean) / std
        torch.testing.assert_close(image[c].double(), expected, rtol=0, atol=PIXEL_VALUES)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"crop_size": (0, 5)}, "crop_size must be positive"),
        ({"crop_size": (5, 5), "scale_range": (0.0, 1.0)}, "0 < low <= high"),
        ({"crop_size": (5, 5), "scale_range": (2.0, 1.0)}, "0 < low <= high"),
        ({"crop_size": (5, 5), "color_jitter": 1.0}, r"lie in \[0, 1\)"),
        ({"crop_size": (5, 5), "hue_jitter": 0.6}, r"lie in \[0, 0.5\]"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        TrainTransform(**arguments)  # type: ignore[arg-type]


@given(
    seed=st.integers(0, 2**63 - 1),
    size=st.tuples(st.integers(5, 90), st.integers(5, 90)),
    crop=st.tuples(st.integers(4, 60), st.integers(4, 60)),
    place=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
)
@settings(max_examples=80)
def test_the_crop_contains_the_pixel(
    seed: int, size: tuple[int, int], crop: tuple[int, int], place: tuple[float, float]
) -> None:
    """At scale 1 and above, where no pixel is lost between those of the crop."""
    row, column = int(place[0] * size[0]), int(place[1] * size[1])
    mask = torch.zeros(size, dtype=torch.uint8)
    mask[row, column] = 1
    sample = Sample(mask.expand(3, -1, -1).contiguous(), mask, "one pixel")
    _, target = TrainTransform(crop, (1.0, 2.0))(sample, seed, (row, column))
    assert (target == 1).any()


def test_without_a_pixel_the_crop_lies_anywhere() -> None:
    sample, transform = coded(90, 90), TrainTransform((32, 32))
    crops = [transform(sample, seed, pixel) for seed in range(5) for pixel in (None, (0, 0))]
    # Few crops contain the corner, so requiring it moves them; scale and flip are unchanged.
    assert any(not torch.equal(a[1], b[1]) for a, b in zip(crops[::2], crops[1::2], strict=True))


def test_a_pixel_outside_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="place is 90: expected a pixel of the image, 0 to 89"):
        TrainTransform((32, 32))(coded(90, 90), 0, (90, 0))


SCENES = StreetScenes(num_images=6, size=(48, 64))
ADDRESSES = [Draw(*a) for a in [(4, 7), (0, 7), (4, 8), (1, 9), (5, 2), (4, 7)]]


def test_items() -> None:
    item = AugmentedDataset(SCENES, TrainTransform((32, 40)))[Draw(4, 7)]
    assert item["image"].shape == (3, 32, 40)
    assert item["mask"].shape == (32, 40)
    assert item["index"] == 4


# Python 3.12 warns about forks in processes with threads; no lock is held here.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [1, 2])
def test_crops_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    dataset = AugmentedDataset(SCENES, TrainTransform((32, 40)))
    loader = DataLoader(
        dataset, batch_size=2, sampler=ADDRESSES, num_workers=workers,
        multiprocessing_context="fork",
    )  # fmt: skip
    batches = list(loader)
    images = torch.cat([batch["image"] for batch in batches])
    masks = torch.cat([batch["mask"] for batch in batches])
    for place, address in enumerate(ADDRESSES):
        assert torch.equal(images[place], dataset[address]["image"])
        assert torch.equal(masks[place], dataset[address]["mask"])


def test_one_address_gives_one_crop() -> None:
    dataset = AugmentedDataset(SCENES, TrainTransform((32, 40)))
    assert torch.equal(dataset[Draw(4, 7)]["image"], dataset[Draw(4, 7)]["image"])
    assert not torch.equal(dataset[Draw(4, 7)]["image"], dataset[Draw(4, 8)]["image"])
