from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from lossmaxpool.data import DataConfig, DataError, PascalVOC, open_dataset
from lossmaxpool.data.decode import read_ids
from tests.data import trees

# The trees are smaller than the set.
pytestmark = pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")

VOC = {"train": ["2007_1", "2008_2"], "val": ["2007_8", "2009_9"]}
# SBD's train holds an image of VOC's val and one of VOC's train, and so does its val.
SBD = {"train": ["2008_3", "2009_9", "2007_1"], "val": ["2010_44", "2007_8", "2008_2"]}
UNION = ["2007_1", "2008_2", "2008_3", "2010_44"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = trees.voc(tmp_path / "VOCdevkit" / "VOC2012", VOC)
    for name in (name for names in SBD.values() for name in names):
        trees.save(root / "JPEGImages" / f"{name}.jpg", trees.picture(len(name)))
    return root


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many images as the small trees have in place of 10,582."""
    monkeypatch.setitem(PascalVOC.SPLITS, "train_aug", len(UNION))


def augmented_folder(root: Path) -> None:
    for name in {name for names in (*SBD.values(), *VOC.values()) for name in names}:
        mask = trees.ids(len(name), range(21))
        trees.save_palette(root / "SegmentationClassAug" / f"{name}.png", mask)


def names(dataset: PascalVOC) -> list[str]:
    return [dataset.sample_name(i) for i in range(len(dataset))]


def test_masks_are_palette_indices_and_contours_unlabeled(root: Path) -> None:
    truth = torch.from_numpy(trees.ids(0, (*range(21), 255)))
    assert torch.equal(PascalVOC(root, "train").mask(0), truth)


@pytest.mark.parametrize("above", [0, 1, 2])
def test_the_root_may_be_any_of_three_folders(root: Path, above: int) -> None:
    given = (root, *root.parents)[above]
    assert names(PascalVOC(given, "val")) == VOC["val"]


def test_the_colors_are_those_of_the_development_kit() -> None:
    colors = dict(zip(PascalVOC.LABELS.names, PascalVOC.LABELS.colors, strict=True))
    assert colors["background"] == (0, 0, 0)
    assert colors["aeroplane"] == (128, 0, 0)
    assert colors["chair"] == (192, 0, 0)
    assert colors["person"] == (192, 128, 128)
    assert colors["tvmonitor"] == (0, 64, 128)


@pytest.mark.usefixtures("small")
def test_the_union_with_sbd_leaves_val_out(root: Path, tmp_path: Path) -> None:
    dataset = PascalVOC(root, "train_aug", trees.sbd(tmp_path / "benchmark_RELEASE", SBD))
    assert names(dataset) == UNION
    # VOC's own masks for VOC's images, contours and all; SBD's for the others.
    assert [pair.mask.suffix for pair in dataset.pairs] == [".png", ".png", ".mat", ".mat"]
    assert 255 in dataset.mask(0)
    assert torch.equal(dataset[2].mask, torch.from_numpy(trees.ids(len("2008_3"), range(21))))


@pytest.mark.usefixtures("small")
def test_both_forms_of_sbd_give_the_same_set(root: Path, tmp_path: Path) -> None:
    augmented_folder(root)
    config = DataConfig("voc", root, sbd=trees.sbd(tmp_path / "benchmark_RELEASE", SBD))
    matlab = open_dataset(config, "train_aug")
    pictures = open_dataset(DataConfig("voc", root), "train_aug")
    assert names(matlab) == names(pictures) == UNION  # type: ignore[arg-type]
    for i in range(len(UNION)):
        assert torch.equal(matlab.mask(i), pictures.mask(i))


def touch(folder: Path, names: list[str], ending: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}{ending}").touch()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VOC's and SBD's lists at their published sizes and overlaps; the pictures are empty."""
    root = tmp_path_factory.mktemp("whole")
    stems = [f"2008_{i:06d}" for i in range(10_582 + 1449)]
    train, val, rest = stems[:1464], stems[1464:2913], stems[2913:]
    # SBD lacks some of VOC's images: 11,355 of the 12,031 are in it.
    annotated = rest + (train + val)[: 11_355 - len(rest)]
    assert len(annotated) == 8498 + 2857
    touch(root / "JPEGImages", stems, ".jpg")
    touch(root / "SegmentationClass", train + val, ".png")
    touch(root / "SegmentationClassAug", stems, ".png")
    touch(root / "sbd" / "cls", annotated, ".mat")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for listing, part in (
        ("ImageSets/Segmentation/train.txt", train),
        ("ImageSets/Segmentation/val.txt", val),
        ("sbd/train.txt", annotated[:8498]),
        ("sbd/val.txt", annotated[8498:]),
    ):
        (root / listing).write_text("\n".join(part))
    return root


@pytest.mark.filterwarnings("error")
def test_there_are_10582_images(whole: Path) -> None:
    matlab = PascalVOC(whole, "train_aug", whole / "sbd")
    pictures = PascalVOC(whole, "train_aug")
    assert len(matlab) == len(pictures) == 10_582
    assert names(matlab) == names(pictures) == sorted(set(names(matlab)))
    assert sum(pair.mask.suffix == ".png" for pair in matlab.pairs) == 1464
    held_out = (whole / "ImageSets/Segmentation/val.txt").read_text().split()
    assert not set(names(matlab)) & set(held_out)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("split", "count"), [("train", 1464), ("val", 1449)])
def test_voc_alone_has_its_published_size(whole: Path, split: str, count: int) -> None:
    assert len(PascalVOC(whole, split)) == count


def test_any_other_number_is_an_error(whole: Path, root: Path) -> None:
    augmented_folder(root)
    with pytest.raises(DataError, match=r"must have 10,582 images, but here it has 4: 2 of VOC's"):
        PascalVOC(root, "train_aug")


def test_train_aug_needs_sbd(root: Path) -> None:
    with pytest.raises(DataError, match=r"needs the masks of SBD: give its folder \(--data\.sbd"):
        PascalVOC(root, "train_aug")
    with pytest.raises(DataError, match=r"not a SBD folder: it has no 'cls' folder. Expected cls/"):
        PascalVOC(root, "train_aug", root)


@pytest.mark.usefixtures("small")
def test_a_missing_matlab_file_is_named(root: Path, tmp_path: Path) -> None:
    sbd = trees.sbd(tmp_path / "benchmark_RELEASE", SBD)
    (sbd / "dataset" / "cls" / "2010_44.mat").unlink()
    with pytest.raises(DataError, match=r"1 of 2 masks are missing: .*2010_44\.mat"):
        PascalVOC(root, "train_aug", sbd)


def test_a_list_that_is_missing_empty_or_repeats(root: Path) -> None:
    listing = root / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text("2007_8\n2007_8\n")
    with pytest.raises(DataError, match=r"val\.txt names 2007_8 more than once"):
        PascalVOC(root, "val")
    listing.write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt is empty"):
        PascalVOC(root, "val")
    listing.unlink()
    with pytest.raises(DataError, match=r"val\.txt cannot be read"):
        PascalVOC(root, "val")


# MATLAB files.


def test_a_matlab_mask(tmp_path: Path) -> None:
    truth = trees.ids(4, range(21))
    np.testing.assert_array_equal(read_ids(trees.sbd_mask(tmp_path / "a.mat", truth)), truth)


def test_a_matlab_file_that_is_missing_or_damaged_or_another(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with pytest.raises(DataError, match=r"a\.mat does not exist"):
        read_ids(path)
    trees.sbd_mask(path, trees.ids(4, range(21), (80, 90)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.mat is damaged or no MATLAB file"):
        read_ids(path)
    savemat(path, {"GTinst": {"Segmentation": np.zeros((2, 2), dtype=np.uint8)}})
    with pytest.raises(DataError, match=r"a\.mat has no GTcls\.Segmentation"):
        read_ids(path)
    savemat(path, {"GTcls": {"Segmentation": np.zeros((2, 2))}})
    with pytest.raises(DataError, match=r"a\.mat has a GTcls.* of float64 and shape \(2, 2\)"):
        read_ids(path)


def test_without_scipy_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trees.sbd_mask(tmp_path / "a.mat", trees.ids(4, range(21)))
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DataError, match="pip install scipy"):
        read_ids(path)
