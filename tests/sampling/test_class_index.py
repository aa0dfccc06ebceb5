from __future__ import annotations

import pytest
import torch

from lossmaxpool.data import StreetScenes, class_statistics
from lossmaxpool.sampling import ClassIndex
from tests.sampling.scenes import CLASSES, index_of, masks

# Python 3.12 warns about forks in processes with threads; no lock is held here.
with_workers = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


def test_images_and_counts() -> None:
    labels = masks()
    index = index_of(labels)
    assert (index.num_images, index.num_classes) == (len(labels), CLASSES)
    for c in range(CLASSES):
        pixels = [int((mask == c).sum()) for mask in labels]
        assert index.counts[:, c].tolist() == pixels
        assert index.images(c).tolist() == [i for i, n in enumerate(pixels) if n]


def test_it_is_what_the_statistics_of_a_data_set_say() -> None:
    scenes = StreetScenes(num_images=6, size=(32, 48))
    built = ClassIndex.build(scenes.mask, len(scenes), scenes.labels.num_classes)
    counted = ClassIndex(class_statistics(scenes).pixels)
    assert torch.equal(built.counts, counted.counts)
    assert built.digest == counted.digest


def test_classes_without_pixels() -> None:
    index = index_of(masks(), num_classes=6)
    assert index.absent == (4, 5)
    assert index.present.tolist() == [True] * 4 + [False] * 2
    assert index.images(5).tolist() == []


def test_progress_is_told_of_every_mask() -> None:
    told: list[tuple[int, int]] = []
    labels = masks(5)
    ClassIndex.build(
        labels.__getitem__, 5, CLASSES, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(i, 5) for i in range(1, 6)]


@with_workers
def test_workers_count_the_same_and_no_random_state_changes() -> None:
    labels = masks()
    before = torch.get_rng_state()
    parallel = ClassIndex.build(labels.__getitem__, len(labels), CLASSES, workers=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(parallel.counts, index_of(labels).counts)


def test_the_digest_is_of_the_content() -> None:
    labels = masks()
    changed = [mask.clone() for mask in labels]
    changed[3][10, 10] = 3
    assert index_of(labels).digest == index_of([mask.clone() for mask in labels]).digest
    assert index_of(labels).digest != index_of(changed).digest
    flat = torch.ones(2, 6, dtype=torch.int64)
    assert ClassIndex(flat).digest != ClassIndex(flat.view(3, 4)).digest


@with_workers
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_mask_is_named_without_the_trace_of_a_worker(workers: int) -> None:
    labels = masks(4)
    labels[2][0, 0] = 9
    with pytest.raises(ValueError, match=r"^image 2: a mask holds ids from 0 to 9"):
        ClassIndex.build(labels.__getitem__, 4, CLASSES, workers=workers)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (torch.zeros(3).long(), r"shape \(3,\); expected \(images, classes\)"),
        (torch.zeros(0, 3).long(), "at least one of each"),
        (torch.zeros(2, 2), "expected integers"),
        (-torch.ones(2, 2).long(), r"negative entries \(smallest -1\)"),
    ],
)
def test_counts_that_are_none(counts: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassIndex(counts)


def test_no_image_or_no_class() -> None:
    with pytest.raises(ValueError, match="there are 0 images and 3 classes"):
        ClassIndex.build(masks().__getitem__, 0, 3)
    with pytest.raises(ValueError, match="12 images and 0 classes"):
        ClassIndex.build(masks().__getitem__, 12, 0)


def test_a_cache_needs_a_fingerprint() -> None:
    with pytest.raises(ValueError, match="a cache needs a fingerprint"):
        ClassIndex.build(masks().__getitem__, 12, CLASSES, cache="anywhere")


def test_counts_that_are_no_tensor() -> None:
    with pytest.raises(ValueError, match=r"counts is a list; expected a tensor .*torch.as_tensor"):
        ClassIndex([[1, 2]])  # type: ignore[arg-type]


def test_it_says_what_it_is() -> None:
    index = ClassIndex(torch.tensor([[9000, 0, 0], [5, 4, 0]]))
    assert repr(index) == (
        "ClassIndex(2 images, 3 classes, 9,009 labeled pixels, without a pixel: (2,))"
    )
