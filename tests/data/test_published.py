"""Common contract of the readers of published data sets, on small trees in the exact layout."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from lossmaxpool.data import (
    ADE20K,
    IGNORE_INDEX,
    Cityscapes,
    COCOStuff,
    DataConfig,
    DataError,
    MapillaryVistas,
    PascalVOC,
    SegmentationDataset,
    inspect_data,
    open_dataset,
)
from lossmaxpool.data.files import FileDataset
from tests.data import trees

# Every tree is smaller than the published set; one test below checks the resulting warning.
pytestmark = pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")


@dataclass(frozen=True)
class Published:
    reader: Callable[[Path, str], FileDataset]
    build: Callable[[Path], Path]
    names: tuple[str, ...]
    """Of the train split."""
    unknown: int
    """An id that no mask may hold."""
    folder: str
    """One that must be there for the train split."""
    size: str
    """Published images of the train split."""


SETS = {
    "cityscapes": Published(
        Cityscapes,
        lambda root: trees.cityscapes(
            root, {"train": ["ulm/ulm_1", "bonn/bonn_2"], "val": ["jena/jena_3"]}
        ),
        ("bonn/bonn_2", "ulm/ulm_1"), 34, "leftImg8bit/train", "2,975",
    ),
    "voc": Published(
        PascalVOC,
        lambda root: trees.voc(root, {"train": ["2008_2", "2007_1"], "val": ["2009_3"]}),
        ("2007_1", "2008_2"), 21, "JPEGImages", "1,464",
    ),
    "ade20k": Published(
        ADE20K,
        lambda root: trees.ade20k(root, {"training": 2, "validation": 1}),
        ("ADE_train_00000001", "ADE_train_00000002"), 151, "images/training", "20,210",
    ),
    "mapillary-vistas": Published(
        MapillaryVistas,
        lambda root: trees.mapillary(
            root, {"training": ["zU", "aB"], "validation": ["c_D-1"]}, ["v1.2", "v2.0"]
        ),
        ("aB", "zU"), 4, "training/images", "18,000",
    ),
    "coco-stuff": Published(
        COCOStuff,
        lambda root: trees.coco_stuff(root, {"train2017": ["09", "30"], "val2017": ["139"]}),
        ("09", "30"), 11, "images/train2017", "118,287",
    ),
}  # fmt: skip


@pytest.fixture(params=SETS, ids=list(SETS))
def kind(request: pytest.FixtureRequest) -> Published:
    return SETS[request.param]


@pytest.fixture
def tree(kind: Published, tmp_path: Path) -> Path:
    return kind.build(tmp_path / "data")


def names(dataset: SegmentationDataset) -> tuple[str, ...]:
    return tuple(map(dataset.sample_name, range(len(dataset))))


def test_samples(kind: Published, tree: Path) -> None:
    dataset = kind.reader(tree, "train")
    assert names(dataset) == kind.names
    sample = dataset[1]
    assert sample.name == kind.names[1]
    assert sample.image.shape == (3, *trees.SIZE)
    assert sample.mask.dtype == torch.uint8
    assert torch.equal(dataset.mask(1), sample.mask)
    assert dataset.mask_file(1).path == dataset.pairs[1].mask


def test_the_splits_are_apart(kind: Published, tree: Path) -> None:
    val = kind.reader(tree, "val")
    assert len(val) == 1
    assert not set(names(val)) & set(kind.names)
    assert kind.reader(tree, "train").name != val.name


def test_every_class_is_reached_and_something_is_unlabeled(kind: Published, tree: Path) -> None:
    """The trees' masks hold every id that the files may hold."""
    dataset = kind.reader(tree, "train")
    expected = [*range(dataset.labels.num_classes), IGNORE_INDEX]
    assert dataset.mask(0).unique().tolist() == expected


def test_open_dataset(tree: Path, kind: Published, request: pytest.FixtureRequest) -> None:
    config = DataConfig(request.node.callspec.params["kind"], tree)
    opened = open_dataset(config, config.train_split)
    assert type(opened) is kind.reader
    assert names(opened) == kind.names


def test_inspection_finds_nothing_wrong(kind: Published, tree: Path) -> None:
    assert inspect_data(kind.reader(tree, "train")).ok


def test_workers_may_receive_it(kind: Published, tree: Path) -> None:
    dataset = kind.reader(tree, "train")
    assert torch.equal(pickle.loads(pickle.dumps(dataset)).mask(0), dataset.mask(0))


# Bad input.


def test_an_unknown_split(kind: Published, tree: Path) -> None:
    with pytest.raises(DataError, match=r"split of .* 'trian'\. Did you mean 'train'"):
        kind.reader(tree, "trian")


def test_a_wrong_root_says_what_was_expected(kind: Published, tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(DataError) as error:
        kind.reader(tmp_path, "train")
    for part in (f"no '{kind.folder}' folder", "Expected ", "It holds: holiday."):
        assert part in str(error.value)


def test_an_absent_root(kind: Published, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone does not exist or is not a folder\. Expected "):
        kind.reader(tmp_path / "gone", "train")


@pytest.mark.parametrize("part", ["image", "mask"])
def test_a_missing_file_is_named(kind: Published, tree: Path, part: str) -> None:
    path: Path = getattr(kind.reader(tree, "train").pairs[0], part)
    path.unlink()
    with pytest.raises(DataError, match=f"1 of 2 {part}s are missing: ") as error:
        kind.reader(tree, "train")
    assert str(path) in str(error.value)


def test_a_mask_of_another_size(kind: Published, tree: Path) -> None:
    pair = kind.reader(tree, "train").pairs[0]
    trees.save(pair.mask, np.zeros((3, 5), dtype=np.uint8))
    with pytest.raises(DataError, match=r"is 5x3 .* is 16x12\. They must match"):
        kind.reader(tree, "train")[0]


def test_an_unknown_id(kind: Published, tree: Path) -> None:
    pair = kind.reader(tree, "train").pairs[0]
    trees.save(pair.mask, trees.ids(0, (1, kind.unknown)))
    with pytest.raises(
        DataError, match=rf"holds the values {kind.unknown}, but there are"
    ) as error:
        kind.reader(tree, "train").mask(0)
    assert str(pair.mask) in str(error.value)


@pytest.mark.filterwarnings("default")
def test_another_number_of_images_is_reported(kind: Published, tree: Path) -> None:
    with pytest.warns(UserWarning, match=f"has 2 images here, but was published with {kind.size}"):
        kind.reader(tree, "train")
