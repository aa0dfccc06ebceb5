from __future__ import annotations

from pathlib import Path

import pytest

from lossmaxpool.data import COCOStuff
from tests.data.trees import coco_stuff, ids, save

# The trees are smaller than the set.
pytestmark = pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")

NAMES = {"train2017": ["000000000009", "000000000030"]}


@pytest.mark.parametrize(
    ("file_id", "name"),
    [
        (0, "person"), (10, "fire hydrant"), (12, "stop sign"), (81, "refrigerator"),
        (89, "toothbrush"), (91, "banner"), (96, "bush"), (148, "road"), (181, "wood"),
    ],
)  # fmt: skip
def test_ids_reach_the_class_of_their_name(tmp_path: Path, file_id: int, name: str) -> None:
    """An id is one less than in the published list, which counts "unlabeled" as 0."""
    root = coco_stuff(tmp_path, NAMES)
    save(root / "annotations" / "train2017" / "000000000009.png", ids(0, (file_id, 255)))
    dataset = COCOStuff(root, "train")
    assert dataset.mask(0).unique().tolist() == [COCOStuff.LABELS.names.index(name), 255]


def test_there_are_171_classes_of_distinct_colors() -> None:
    assert COCOStuff.LABELS.num_classes == len(set(COCOStuff.LABELS.colors)) == 171
    assert not {"street sign", "hair brush", "door"} & set(COCOStuff.LABELS.names)


def test_the_pixel_maps_may_keep_the_name_of_their_archive(tmp_path: Path) -> None:
    assert len(COCOStuff(coco_stuff(tmp_path, NAMES, "stuffthingmaps"), "train")) == 2


def test_converted_copies_are_passed_over(tmp_path: Path) -> None:
    root = coco_stuff(tmp_path, NAMES)
    for name in NAMES["train2017"]:
        save(root / "annotations" / "train2017" / f"{name}_labelTrainIds.png", ids(0, (0, 170)))
    dataset = COCOStuff(root, "train")
    assert [pair.mask.stem for pair in dataset.pairs] == NAMES["train2017"]
