from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lossmaxpool.data import IGNORE_INDEX, CamVid, DataError, class_statistics
from tests.data.trees import camvid, ids, picture, save
from tests.tolerances import PUBLISHED_SHARES

# The trees are smaller than the set.
pytestmark = pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")

FRAMES = {"train": ["0001TP_1", "0006R0_1", "0006R0_2", "0016E5_1"], "val": ["0016E5_9"]}


def test_void_becomes_ignored_and_ids_stay(tmp_path: Path) -> None:
    dataset = CamVid(camvid(tmp_path, FRAMES), "train")
    sample = dataset[1]
    truth = torch.from_numpy(ids(1, range(12)))
    assert sample.name == "0006R0_1"
    assert sample.image.shape == (3, 12, 16)
    assert sample.mask.dtype == torch.uint8
    assert torch.equal(sample.mask, torch.where(truth == 11, IGNORE_INDEX, truth))
    assert torch.equal(dataset.mask(1), sample.mask)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", FRAMES["train"]),
        ("val", FRAMES["val"]),
        ("sequence-train", ["0006R0_1", "0006R0_2", "0016E5_1"]),
        ("sequence-val", ["0001TP_1"]),
    ],
)
def test_splits(tmp_path: Path, split: str, names: list[str]) -> None:
    dataset = CamVid(camvid(tmp_path, FRAMES), split)
    assert [dataset.sample_name(i) for i in range(len(dataset))] == names


def test_an_unknown_split_gets_did_you_mean(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'vall'. Did you mean 'val'\?"):
        CamVid(camvid(tmp_path, FRAMES), "vall")


def test_a_wrong_root_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no 'train' folder. Expected train/, trainannot/"):
        CamVid(tmp_path, "train")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "trainannot").mkdir()
    with pytest.raises(DataError, match=r"camvid/train is empty: there is no '\*\.png' in"):
        CamVid(tmp_path, "train")
    camvid(tmp_path, {"train": ["0006R0_1"]})
    with pytest.raises(DataError, match="no frames of 0001TP in"):
        CamVid(tmp_path, "sequence-val")


def test_an_image_without_a_mask_is_named(tmp_path: Path) -> None:
    camvid(tmp_path, FRAMES)
    save(tmp_path / "train" / "0016E5_5.png", picture(9))
    with pytest.raises(DataError, match=r"1 of 5 masks are missing: .*0016E5_5\.png"):
        CamVid(tmp_path, "train")


def test_a_mask_without_an_image_is_named(tmp_path: Path) -> None:
    """Half of the images are missing: training must not silently use fewer."""
    camvid(tmp_path, FRAMES)
    (tmp_path / "train" / "0006R0_2.png").unlink()
    for split, total in (("train", 4), ("sequence-train", 3)):
        with pytest.raises(
            DataError, match=rf"1 of {total} images are missing: .*train/0006R0_2\.png"
        ):
            CamVid(tmp_path, split)
    assert len(CamVid(tmp_path, "sequence-val")) == 1


def test_what_a_mac_leaves_is_passed_over(tmp_path: Path) -> None:
    camvid(tmp_path, FRAMES)
    (tmp_path / "train" / "._0001TP_1.png").touch()
    assert len(CamVid(tmp_path, "train")) == 4


def test_another_number_of_images_than_published(tmp_path: Path) -> None:
    camvid(tmp_path, FRAMES)
    with pytest.warns(UserWarning, match="camvid/val has 1 images here, but was .* with 101"):
        CamVid(tmp_path, "val")


def test_a_value_outside_the_classes_is_named(tmp_path: Path) -> None:
    camvid(tmp_path, FRAMES)
    save(tmp_path / "valannot" / "0016E5_9.png", ids(0, (0, 12, 99)))
    with pytest.raises(
        DataError, match=r"0016E5_9\.png holds the values 12, 99, .* 0\.\.10 and 11"
    ):
        CamVid(tmp_path, "val")[0]


def test_the_real_data(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("camvid")
    sizes = {split: len(CamVid(root, split)) for split in CamVid.SPLITS}
    assert sizes == {"train": 367, "val": 101, "sequence-train": 305, "sequence-val": 62}
    dataset = CamVid(root, "val")
    assert (*dataset.labels.names, "void") == tuple(json.loads((root / "classes.json").read_text()))
    assert dataset[0].image.shape == (3, 360, 480)


def test_the_real_class_shares(shared_data: Callable[[str], Path]) -> None:
    """The published shares of the val split, to the three decimals that they were given with."""
    shares = 100 * class_statistics(CamVid(shared_data("camvid"), "val")).shares
    published = [9.336, 26.412, 0.574, 29.455, 8.870, 16.619, 0.908, 3.131, 1.776, 0.662, 2.256]
    assert shares.tolist() == pytest.approx(published, abs=PUBLISHED_SHARES)
