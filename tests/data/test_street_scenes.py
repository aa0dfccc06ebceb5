from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossmaxpool.data import IGNORE_INDEX, DataError, StreetScenes, class_statistics

# Smallest and largest share of the labeled pixels in per cent: some in bulk, and a long tail.
SHARES = {
    "road": (22, 42),
    "sidewalk": (2, 10),
    "building": (14, 32),
    "fence": (0.2, 2.5),
    "pole": (0.5, 2.5),
    "traffic light": (0.03, 0.5),
    "traffic sign": (0.15, 1.2),
    "vegetation": (6, 20),
    "sky": (12, 30),
    "person": (0.2, 1.5),
    "rider": (0.1, 1.2),
    "car": (2, 12),
}


def test_a_scene_is_a_sample() -> None:
    sample = StreetScenes()[3]
    assert sample.image.shape == (3, 128, 192)
    assert sample.image.dtype == sample.mask.dtype == torch.uint8
    assert sample.mask.shape == (128, 192)
    assert sample.name == "train-00003"


@given(
    seed=st.integers(0, 2**31), index=st.integers(0, 10**6), split=st.sampled_from(["train", "val"])
)
@settings(max_examples=25)
def test_ids_are_classes_or_ignored(seed: int, index: int, split: str) -> None:
    dataset = StreetScenes(split, 10**6 + 1, (64, 96), seed)
    mask = dataset[index].mask
    assert ((mask < dataset.labels.num_classes) | (mask == IGNORE_INDEX)).all()
    # A street always shows these.
    assert {0, 8} <= set(mask.unique().tolist())


def test_a_scene_is_a_pure_function_of_seed_split_and_index() -> None:
    one, other = StreetScenes(num_images=9), StreetScenes(num_images=500)
    torch.manual_seed(1)
    first = one[7]
    torch.manual_seed(2)
    _ = other[3]
    again = other[7]
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, again.mask)
    assert torch.equal(one.mask(7), first.mask)


@pytest.mark.parametrize(
    "other", [StreetScenes(seed=1), StreetScenes("val"), StreetScenes(size=(128, 194))]
)
def test_another_seed_split_or_size_gives_other_scenes(other: StreetScenes) -> None:
    here, there = StreetScenes()[0], other[0]
    assert here.image.shape != there.image.shape or not torch.equal(here.image, there.image)


@pytest.mark.parametrize("size", [(32, 48), (65, 97), (96, 64), (200, 120)])
def test_sizes(size: tuple[int, int]) -> None:
    sample = StreetScenes(size=size)[1]
    assert sample.image.shape == (3, *size)
    assert sample.mask.shape == size


def test_the_long_tail() -> None:
    statistics = class_statistics(StreetScenes(num_images=80, size=(96, 144)))
    shares = dict(zip(statistics.labels.names, (100 * statistics.shares).tolist(), strict=True))
    outside = {
        name: share
        for name, share in shares.items()
        if not SHARES[name][0] <= share <= SHARES[name][1]
    }
    assert not outside
    rare = {statistics.labels.names[c] for c in statistics.rare}
    assert {"fence", "pole", "traffic light", "traffic sign", "person", "rider"} <= rare
    assert statistics.ignored.sum() > 0


def test_classes_have_colors_that_differ() -> None:
    labels = StreetScenes().labels
    assert len(set(labels.colors)) == labels.num_classes == 12


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"split": "test"}, "There are: train, val"),
        ({"split": "vall"}, "Did you mean 'val'"),
        ({"num_images": 0}, "num_images >= 1"),
        ({"seed": -1}, "seed >= 0"),
        ({"size": (16, 48)}, "at least 32x48"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(DataError, match=match):
        StreetScenes(**arguments)  # type: ignore[arg-type]


def test_an_index_outside() -> None:
    with pytest.raises(IndexError, match="Scene 5 of 5"):
        StreetScenes(num_images=5)[5]
