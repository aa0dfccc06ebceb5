"""Plain folders of images and id masks.

Two layouts, told apart by what is there::

    root/<split>/images, root/<split>/masks            one folder per split
    root/images, root/masks, root/splits/<split>.txt   one stem per line in the split's file

``labels`` may stand for ``masks``. An image and its mask share their path below those folders,
apart from the extension.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from lossmaxpool.data.classes_file import find_classes_file, read_classes_file
from lossmaxpool.data.decode import ImageRange, read_ids
from lossmaxpool.data.errors import DataError
from lossmaxpool.data.files import (
    IMAGE_SUFFIXES,
    FileDataset,
    FilePair,
    explain_binary,
    warn_skipped,
)
from lossmaxpool.data.layout import read_listing
from lossmaxpool.data.names import unknown_choice
from lossmaxpool.data.sample import IGNORE_INDEX
from lossmaxpool.data.walk import files_below

_MASK_FOLDERS = ("masks", "labels")
_LAYOUTS = (
    "Expected <root>/<split>/images and <root>/<split>/masks, or <root>/images, <root>/masks and "
    "<root>/splits/<split>.txt ('labels' may stand for 'masks')."
)


class Folders(FileDataset):
    """A user's own images and id masks.

    Args:
        root: the folder of the data set.
        split: the split's folder, or the stem of its file in ``splits/``.
        classes: the classes file; ``classes.json`` or ``classes.txt`` of the root where None.
        image_range: the values of black and white in pictures of 16 bits, as (0, 4095) for those of
            a 12-bit camera; None for 0 and 65535.

    Raises:
        DataError: for a root of neither layout, an unknown split, an empty folder, an image without
            a mask or, in a split's own folder, a mask without an image, two files of one stem, a
            malformed classes file, masks of 0 and 255 alone, whose foreground would be ignored, or
            an image_range that is not two numbers, the smaller first.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        classes: Path | None = None,
        image_range: ImageRange | None = None,
    ) -> None:
        if image_range is not None and not (
            all(map(math.isfinite, image_range)) and image_range[0] < image_range[1]
        ):
            raise DataError(
                f"image_range must be the values of black and white, the smaller first, as in "
                f"[0, 4095]; got {list(image_range)}."
            )
        root = Path(root)
        if not root.is_dir():
            raise DataError(f"The data folder {root} does not exist or is no folder. {_LAYOUTS}")
        pairs = _find_pairs(root, split)
        content = read_classes_file(classes or find_classes_file(root))
        name = f"{root.resolve().name}/{split}"
        super().__init__(name, content.labels, pairs, content.ids, image_range)
        self.ignores_255 = not content.says_ignore and content.ids.get(255) == IGNORE_INDEX
        if self.ignores_255:
            self._refuse_binary_masks()

    def _refuse_binary_masks(self) -> None:
        """255 means "unlabelled" by default, so 0/255 masks would lose their foreground."""
        seen_255 = False
        for pair in self.pairs:
            try:
                values = set(np.unique(read_ids(pair.mask)).tolist())
            except DataError:
                continue  # reported when this sample is read
            # The first mask with any other value settles it: usually the very first.
            if not values <= {0, 255}:
                return
            seen_255 |= 255 in values
        if seen_255:
            raise DataError(explain_binary(f"The masks in {self.pairs[0].mask.parent} hold"))


def _find_pairs(root: Path, split: str) -> list[FilePair]:
    # Not pathlib, which raises for a folder that must not be looked into: a disk's lost+found.
    folder_splits = sorted(
        folder.name
        for folder in root.iterdir()
        if os.path.isdir(folder / "images")  # noqa: PTH112
    )
    listed_splits = sorted(file.stem for file in (root / "splits").glob("*.txt"))
    if split in folder_splits:
        images, masks = root / split / "images", _mask_folder(root / split)
        return _pair(images, masks)
    if split in listed_splits and (root / "images").is_dir():
        listed = read_listing(root / "splits" / f"{split}.txt")
        return _pair(root / "images", _mask_folder(root), listed)
    if folder_splits or (listed_splits and (root / "images").is_dir()):
        raise DataError(unknown_choice(f"split of {root}", split, [*folder_splits, *listed_splits]))
    raise DataError(f"{root} has neither layout of a data folder. {_LAYOUTS}")


def _mask_folder(parent: Path) -> Path:
    for name in _MASK_FOLDERS:
        if (parent / name).is_dir():
            return parent / name
    raise DataError(f"{parent} has images/ but neither masks/ nor labels/ beside it. {_LAYOUTS}")


def _by_stem(folder: Path) -> dict[str, Path]:
    """Files below a folder by their relative path without the extension."""
    found: dict[str, Path] = {}
    skipped: list[str] = []
    for path in sorted(folder / name for name in files_below(folder)):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            skipped.append(path.relative_to(folder).as_posix())
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise DataError(
                f"{found[stem]} and {path} share the stem '{stem}', so it is not clear which one "
                "is meant. Remove or rename one of them."
            )
        found[stem] = path
    if not found:
        raise DataError(f"{folder} holds no pictures ({', '.join(IMAGE_SUFFIXES)}).")
    warn_skipped(folder, skipped)
    return found


def _pair(images: Path, masks: Path, listed: list[str] | None = None) -> list[FilePair]:
    """Those that are listed; else all, and a mask whose image was not copied is missed as well."""
    image_files, mask_files = _by_stem(images), _by_stem(masks)
    stems = sorted({**image_files, **mask_files}) if listed is None else listed
    for folder, files in ((images, image_files), (masks, mask_files)):
        missing = [stem for stem in stems if stem not in files]
        if missing:
            kind = "image" if folder == images else "mask"
            raise DataError(
                f"{len(missing)} of {len(stems)} names have no {kind} in {folder}; the first is "
                f"'{missing[0]}'. An image and its mask must share their name."
            )
    return [FilePair(stem, image_files[stem], mask_files[stem]) for stem in stems]
