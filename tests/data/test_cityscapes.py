from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lossmaxpool.data import CITYSCAPES_LABEL_IDS, IGNORE_INDEX, Cityscapes, DataError
from tests.data.trees import cityscapes, ids, save

# The trees are smaller than the set.
pytestmark = pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")

FRAMES = {"train": ["aachen/aachen_000000_000019", "bremen/bremen_000004_000019"]}


def test_the_published_order_of_the_label_ids() -> None:
    """7, 8, 11, 12, 13, 17, 19-28, 31, 32, 33 become 0..18."""
    published = [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]
    assert list(CITYSCAPES_LABEL_IDS.values()) == published
    assert Cityscapes.LABELS.names == tuple(CITYSCAPES_LABEL_IDS)


def test_the_other_label_ids_are_unlabeled(tmp_path: Path) -> None:
    dataset = Cityscapes(cityscapes(tmp_path, FRAMES), "train")
    truth = torch.from_numpy(ids(0, range(34)))
    expected = torch.full_like(truth, IGNORE_INDEX)
    for train_id, label_id in enumerate(CITYSCAPES_LABEL_IDS.values()):
        expected[truth == label_id] = train_id
    assert torch.equal(dataset.mask(0), expected)


def test_train_ids_are_read_where_there_are_no_label_ids(tmp_path: Path) -> None:
    dataset = Cityscapes(cityscapes(tmp_path, FRAMES, ["labelTrainIds"]), "train")
    assert torch.equal(dataset.mask(0), torch.from_numpy(ids(0, (*range(19), 255))))


def test_some_train_ids_do_not_stand_in_for_missing_label_ids(tmp_path: Path) -> None:
    root = cityscapes(tmp_path, FRAMES)
    (root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 masks are missing: .*aachen.*labelIds\.png"):
        Cityscapes(root, "train")


def test_train_ids_under_the_name_of_label_ids_are_noticed(tmp_path: Path) -> None:
    """Read as label ids they would give wrong classes; 255 is not a label id and reveals them."""
    root = cityscapes(tmp_path, FRAMES)
    path = root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    save(path, ids(0, (*range(19), 255)))
    with pytest.raises(DataError, match="holds the values 255"):
        Cityscapes(root, "train").mask(0)


def test_images_without_any_masks(tmp_path: Path) -> None:
    """Only one of the two archives was unpacked."""
    root = cityscapes(tmp_path, FRAMES, [])
    with pytest.raises(DataError, match=r"2 of 2 masks are missing.*archive not unpacked"):
        Cityscapes(root, "train")


def test_test_is_unlabeled(tmp_path: Path) -> None:
    root = cityscapes(tmp_path, {"test": ["berlin/berlin_0"]})
    save(root / "gtFine/test/berlin/berlin_0_gtFine_labelIds.png", ids(0, (1, 3)))
    assert Cityscapes(root, "test").mask(0).unique().tolist() == [IGNORE_INDEX]
