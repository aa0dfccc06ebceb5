"""Cityscapes: street scenes of 50 cities, 19 classes, 2048x1024.

References:
    Cordts et al. 2016, "The Cityscapes dataset for semantic urban scene understanding".
"""

from __future__ import annotations

from pathlib import Path

from lossmaxpool.data.files import FileDataset, Series, find_root, pair_up
from lossmaxpool.data.sample import IGNORE_INDEX, LabelSet, check_choice

CITYSCAPES_LABEL_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""The id in ``*_labelIds.png`` of each class that counts, in the order of the train ids 0..18."""

LABELS = LabelSet(
    names=tuple(CITYSCAPES_LABEL_IDS),
    colors=(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
        (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
        (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
        (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip
SPLITS = {"train": 2975, "val": 500, "test": 1525}
"""Published number of images of each split."""

_LAST_LABEL_ID = 33
_EXPECTED = (
    "leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*_gtFine_labelIds.png "
    "there"
)


class Cityscapes(FileDataset):
    """Cityscapes with fine annotations, of 19 classes.

    ``*_labelIds.png`` are read and mapped on the fly. If a split has none of them, the optional
    ``*_labelTrainIds.png`` are read; both hold the same classes. The masks of "test" are not
    public: all its pixels are unlabeled.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        split: "train", "val" or "test".

    Raises:
        DataError: for an unknown split, a wrong root, or missing images or masks.
    """

    def __init__(self, root: Path, split: str) -> None:
        check_choice("split of Cityscapes", split, SPLITS)
        name = f"cityscapes/{split}"
        needed = (f"leftImg8bit/{split}", f"gtFine/{split}")
        root = find_root(root, "Cityscapes", needed, _EXPECTED)
        images = Series(root / "leftImg8bit" / split, "_leftImg8bit.png")
        masks = Series(root / "gtFine" / split, "_gtFine_labelIds.png")
        ids = dict.fromkeys(range(_LAST_LABEL_ID + 1), IGNORE_INDEX)
        ids |= {label_id: c for c, label_id in enumerate(CITYSCAPES_LABEL_IDS.values())}
        train_ids = Series(masks.folder, "_gtFine_labelTrainIds.png")
        if not masks.stems() and train_ids.stems():
            masks = train_ids
            ids = {c: c for c in range(LABELS.num_classes)} | {255: IGNORE_INDEX}
        pairs = pair_up(name, images, masks, published=SPLITS[split])
        super().__init__(name, LABELS, pairs, ids)
