"""Plain folders of images and id masks, and the file that names their classes.

Two layouts are supported and recognized by the folders that exist::

    root/<split>/images, root/<split>/masks            one folder per split
    root/images, root/masks, root/splits/<split>.txt   one stem per line in the split's file

The folder ``masks`` may also be called ``labels``. An image and its mask have the same path below
these folders, except for the extension.

``classes.txt`` has one name per line. ``classes.json`` is a list of names, or an object::

    {"names": ["background", "crack"],        required
     "colors": [[0, 0, 0], [220, 60, 40]],    for pictures; chosen where absent
     "ignore": 255,                           the id of unlabeled pixels
     "values": [0, 255]}                      the ids in the files, where not 0, 1, 2, ...
"""

from __future__ import annotations

import colorsys
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lossmaxpool.data.decode import ImageRange, read_ids
from lossmaxpool.data.files import (
    IMAGE_SUFFIXES,
    FileDataset,
    FilePair,
    explain_binary,
    pictures_below,
    read_listing,
)
from lossmaxpool.data.sample import IGNORE_INDEX, DataError, LabelSet, unknown_choice

CLASSES_FILES = ("classes.json", "classes.txt")
_KEYS = ("names", "colors", "ignore", "values")
_LARGEST_ID = 65535


@dataclass(frozen=True)
class ClassesFile:
    """The content of a classes file.

    Attributes:
        labels: the classes.
        ids: id in the files -> class id or ``IGNORE_INDEX``.
        says_ignore: whether the file specifies the id of unlabeled pixels.
    """

    labels: LabelSet
    ids: dict[int, int]
    says_ignore: bool


def find_classes_file(root: Path) -> Path:
    """Find the classes file of a data folder."""
    for name in CLASSES_FILES:
        if (root / name).is_file():
            return root / name
    raise DataError(
        f"There is no classes file in {root}. Put a classes.txt there with one class name per "
        "line, in the order of the ids, or a classes.json with a list of them."
    )


def read_classes_file(path: Path) -> ClassesFile:
    """Read ``classes.json`` or ``classes.txt``."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The classes file {path} cannot be read: {error}.") from error
    try:
        if path.suffix.lower() != ".json":
            names = [line.strip() for line in text.rstrip().splitlines()]
            if "" in names:
                # Skipping it would shift all following ids.
                raise DataError(
                    f"line {names.index('') + 1} is blank, and each line is the class of the next "
                    "id: give that id a name, or take the line out."
                )
            return _build({"names": names})
        content = json.loads(text)
        return _build(content if isinstance(content, dict) else {"names": content})
    except (DataError, json.JSONDecodeError) as error:
        raise DataError(f"The classes file {path} is malformed: {error}") from error


def _build(content: dict[str, Any]) -> ClassesFile:
    for key in content:
        if key not in _KEYS:
            raise DataError(unknown_choice("key", key, _KEYS))
    names = content.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError('it needs a list of names: ["background", "crack"] or {"names": [...]}.')
    colors = content.get("colors")
    labels = LabelSet(tuple(names), default_colors(len(names)) if colors is None else _rgb(colors))

    values = content.get("values", list(range(len(names))))
    ignore = content.get("ignore", IGNORE_INDEX)
    if not _are_ids(values) or len(values) != len(names) or len(set(values)) != len(values):
        raise DataError(
            f'"values" must be {len(names)} distinct ids of 0..{_LARGEST_ID}, got {values}.'
        )
    if not _are_ids([ignore]) or ("ignore" in content and ignore in values):
        raise DataError(
            f'"ignore" must be one id of 0..{_LARGEST_ID} that is not a class, got {ignore}.'
        )
    # A class with the default id of unlabeled pixels takes precedence.
    ids = {ignore: IGNORE_INDEX} | {value: i for i, value in enumerate(values)}
    return ClassesFile(labels, ids, "ignore" in content)


def _are_ids(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value <= _LARGEST_ID for value in values
    )


def _rgb(colors: Any) -> tuple[tuple[int, int, int], ...]:
    if not isinstance(colors, list) or not all(
        _are_ids(color) and len(color) == 3 for color in colors
    ):
        raise DataError('"colors" must be a list of [red, green, blue], each of 0..255.')
    return tuple((red, green, blue) for red, green, blue in colors)


def default_colors(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Distinct colors: dark gray for class 0, then hues a golden angle apart."""
    colors = [(70, 70, 70)]
    for i in range(num_classes - 1):
        hue = (0.02 + i * 0.381966) % 1.0
        lightness = (0.55, 0.4, 0.7)[i // 5 % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.65)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colors)


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
            raise DataError(f"The data folder {root} does not exist or is not a folder. {_LAYOUTS}")
        pairs = _find_pairs(root, split)
        content = read_classes_file(classes or find_classes_file(root))
        name = f"{root.resolve().name}/{split}"
        super().__init__(name, content.labels, pairs, content.ids, image_range)
        self.ignores_255 = not content.says_ignore and content.ids.get(255) == IGNORE_INDEX
        if self.ignores_255:
            self._refuse_binary_masks()

    def _refuse_binary_masks(self) -> None:
        """Raise for 0/255 masks, whose foreground would be ignored because 255 means unlabeled."""
        seen_255 = False
        for pair in self.pairs:
            try:
                values = set(np.unique(read_ids(pair.mask)).tolist())
            except DataError:
                continue  # reported when this sample is read
            # Any other value rules this out; usually the first mask has one.
            if not values <= {0, 255}:
                return
            seen_255 |= 255 in values
        if seen_255:
            raise DataError(explain_binary(f"The masks in {self.pairs[0].mask.parent} hold"))


def _find_pairs(root: Path, split: str) -> list[FilePair]:
    # Not pathlib, which raises for folders without read permission, such as lost+found.
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
    for stem, path in pictures_below(folder):
        if stem in found:
            raise DataError(
                f"{found[stem]} and {path} share the stem '{stem}', so it is not clear which one "
                "is meant. Remove or rename one of them."
            )
        found[stem] = path
    if not found:
        raise DataError(f"{folder} holds no pictures ({', '.join(IMAGE_SUFFIXES)}).")
    return found


def _pair(images: Path, masks: Path, listed: list[str] | None = None) -> list[FilePair]:
    """The listed stems; without a list all stems, including masks that lack an image."""
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
