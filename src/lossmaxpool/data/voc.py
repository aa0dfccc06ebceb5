"""Pascal VOC 2012, alone or with the annotations of the Semantic Boundaries Dataset.

References:
    Everingham et al. 2015, "The Pascal visual object classes challenge: a retrospective";
    Hariharan et al. 2011, "Semantic contours from inverse detectors" (SBD).
"""

from __future__ import annotations

from pathlib import Path

from lossmaxpool.data.decode import palette_color
from lossmaxpool.data.files import (
    FileDataset,
    FilePair,
    Series,
    find_root,
    pair_up,
    read_listing,
)
from lossmaxpool.data.sample import IGNORE_INDEX, DataError, LabelSet, check_choice

_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
LABELS = LabelSet(_NAMES, tuple(map(palette_color, range(len(_NAMES)))))
SPLITS = {"train": 1464, "val": 1449, "trainval": 2913, "train_aug": 10_582}
"""Published number of images of each split."""

_EXPECTED = (
    "JPEGImages/*.jpg, SegmentationClass/*.png and ImageSets/Segmentation/<split>.txt there, in "
    "VOC2012/ or in VOCdevkit/VOC2012/"
)
_SBD_EXPECTED = (
    "cls/*.mat, train.txt and val.txt there, in dataset/ or in benchmark_RELEASE/dataset/"
)


class PascalVOC(FileDataset):
    """Pascal VOC 2012: 20 object classes and the background; contours are unlabelled.

    "train_aug" is the usual set of 10,582 training images: VOC's train, SBD's train and SBD's
    val, without VOC's val. VOC's own masks are used for VOC's 1,464 images. The others come from
    SBD's MATLAB files where ``sbd`` is given, else from the folder ``SegmentationClassAug``, which
    holds the same masks as PNG files. Any other number of images is an error.

    Args:
        root: the folder that holds ``JPEGImages``, or ``VOC2012``, or ``VOCdevkit/VOC2012``.
        split: "train", "val", "trainval" or "train_aug".
        sbd: for "train_aug", the folder of SBD (``benchmark_RELEASE``, or its ``dataset``).

    Raises:
        DataError: for an unknown split, a wrong root, missing images or masks, or a "train_aug"
            that does not have its 10,582 images.
    """

    def __init__(self, root: Path, split: str, sbd: Path | None = None) -> None:
        check_choice("split of Pascal VOC", split, SPLITS)
        name = f"voc/{split}"
        needed = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
        inside = ("VOC2012", "VOCdevkit/VOC2012")
        root = find_root(root, "Pascal VOC 2012", needed, _EXPECTED, inside)
        if split == "train_aug":
            pairs = _augmented(name, root, sbd)
        else:
            pairs = _own(name, root, split, SPLITS[split])
        ids = {c: c for c in range(LABELS.num_classes)} | {255: IGNORE_INDEX}
        super().__init__(name, LABELS, pairs, ids)


def _listed(root: Path, split: str) -> list[str]:
    return read_listing(root / "ImageSets" / "Segmentation" / f"{split}.txt")


def _images(root: Path) -> Series:
    return Series(root / "JPEGImages", ".jpg")


def _own(name: str, root: Path, split: str, published: int | None = None) -> list[FilePair]:
    masks = Series(root / "SegmentationClass", ".png")
    return pair_up(name, _images(root), masks, _listed(root, split), published)


def _augmented(name: str, root: Path, sbd: Path | None) -> list[FilePair]:
    train, val = set(_listed(root, "train")), set(_listed(root, "val"))
    masks, annotated = _sbd_masks(root, sbd)
    others = annotated - train - val
    count, expected = len(train | others), SPLITS["train_aug"]
    if count != expected:
        raise DataError(
            f"{name} must have {expected:,} images, but here it has {count:,}: {len(train):,} of "
            f"VOC's train and {len(others):,} of the {len(annotated):,} in {masks.folder} that are "
            f"in neither VOC's train nor its val ({len(val):,}). Are the lists and the masks whole?"
        )
    pairs = _own(name, root, "train") + pair_up(name, _images(root), masks, others)
    return sorted(pairs, key=lambda pair: pair.name)


def _sbd_masks(root: Path, sbd: Path | None) -> tuple[Series, set[str]]:
    """The masks of SBD and the names of their images."""
    if sbd is not None:
        inside = ("dataset", "benchmark_RELEASE/dataset")
        folder = find_root(sbd, "SBD", ("cls",), _SBD_EXPECTED, inside)
        names = {
            stem for split in ("train", "val") for stem in read_listing(folder / f"{split}.txt")
        }
        return Series(folder / "cls", ".mat"), names
    masks = Series(root / "SegmentationClassAug", ".png")
    if not masks.folder.is_dir():
        raise DataError(
            f"'train_aug' needs the masks of SBD: give its folder (--data.sbd, with {_SBD_EXPECTED}"
            f"), or put them as PNG files into {masks.folder}."
        )
    return masks, masks.stems()
