"""CamVid in the SegNet preparation: 11 classes, 480x360, void = 11.

References:
    Brostow et al. 2009, "Semantic object classes in video: a high-definition ground truth
    database"; Badrinarayanan et al. 2017, "SegNet" (the 11 classes and the folder layout).
"""

from __future__ import annotations

from pathlib import Path

from lossmaxpool.data.files import FileDataset, Series, find_root, pair_up
from lossmaxpool.data.sample import IGNORE_INDEX, DataError, LabelSet, check_choice

LABELS = LabelSet(
    names=(
        "sky", "building", "pole", "road", "pavement", "tree",
        "sign_symbol", "fence", "car", "pedestrian", "bicyclist",
    ),
    colors=(
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip
VOID = 11
SPLITS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "train": ("train", (), 367),
    "val": ("val", (), 101),
    "sequence-train": ("train", ("0006R0", "0016E5"), 305),
    "sequence-val": ("train", ("0001TP",), 62),
}
"""Folder, sequences (all where none is named) and published number of images of each split."""

_EXPECTED = "train/, trainannot/, val/ and valannot/ there (the SegNet preparation)"


class CamVid(FileDataset):
    """CamVid frames of ``<root>/<folder>/*.png`` with ids in ``<root>/<folder>annot/*.png``.

    The val frames are close to train frames of the same drive, so scores on "val" are optimistic.
    The splits "sequence-train" (drives 0006R0 and 0016E5) and "sequence-val" (drive 0001TP), both
    taken from the train folder, hold out a whole drive.

    Args:
        root: the folder that holds ``train``, ``trainannot``, ``val`` and ``valannot``.
        split: "train", "val", "sequence-train" or "sequence-val".

    Raises:
        DataError: for an unknown split, a wrong root, an empty folder, or missing images or masks.
    """

    def __init__(self, root: Path, split: str) -> None:
        check_choice("split of CamVid", split, SPLITS)
        name = f"camvid/{split}"
        folder, sequences, published = SPLITS[split]
        root = find_root(root, "CamVid", (folder, f"{folder}annot"), _EXPECTED)
        images, masks = Series(root / folder, ".png"), Series(root / f"{folder}annot", ".png")
        there = images.stems() | masks.stems()
        stems = {stem for stem in there if not sequences or stem.startswith(sequences)}
        if there and not stems:
            raise DataError(
                f"There are no frames of {' or '.join(sequences)} in {images.folder}, which split "
                f"'{split}' needs."
            )
        pairs = pair_up(name, images, masks, stems, published)
        ids = {i: i for i in range(LABELS.num_classes)} | {VOID: IGNORE_INDEX}
        super().__init__(name, LABELS, pairs, ids)
