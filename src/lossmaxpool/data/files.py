"""Data sets of image and mask files: finding, pairing and reading them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from lossmaxpool.data.decode import IdMap, ImageRange, PictureFacts, read_ids, read_picture
from lossmaxpool.data.sample import (
    DataError,
    LabelSet,
    MaskFile,
    Sample,
    SegmentationDataset,
    paired,
)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_SHOWN = 3
"""How many files a message names."""


@dataclass(frozen=True)
class FilePair:
    """An image file, its mask file and the name that they share."""

    name: str
    image: Path
    mask: Path


class FileDataset(SegmentationDataset):
    """Data set of image and mask files, with a mapping from the ids in the files to classes.

    Args:
        pairs: the files, in the order of the data set.
        ids: file id -> class id, or ``IGNORE_INDEX``; any other id in a mask is an error.
        image_range: the values of black and white in pictures of 16 bits; None for 0 and 65535.

    Attributes:
        ignores_255: whether 255 means "unlabeled" only by default, so that the foreground of a
            black and white mask would be ignored by mistake.
    """

    ignores_255 = False

    def __init__(
        self,
        name: str,
        labels: LabelSet,
        pairs: Sequence[FilePair],
        ids: Mapping[int, int],
        image_range: ImageRange | None = None,
    ) -> None:
        self.name = name
        self.labels = labels
        self.pairs = tuple(pairs)
        self.ids = dict(ids)
        self.image_range = image_range
        self._map = IdMap(labels, self.ids)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return self.read(index)[0]

    def read(self, index: int) -> tuple[Sample, PictureFacts]:
        """The sample of one index, and the storage format of its picture."""
        pair = self.pairs[index]
        (image, facts), mask = read_picture(pair.image, self.image_range), self.mask(index)
        subjects = {"the_mask": f"The mask {pair.mask}", "its_image": f"its image {pair.image}"}
        return paired(image, mask, pair.name, **subjects), facts

    def mask(self, index: int) -> Tensor:
        """The mask alone, (H, W) uint8 class ids."""
        path = self.pairs[index].mask
        ids = read_ids(path)
        if 255 not in self.ids and ids.max(initial=0) == 255 and set(np.unique(ids)) <= {0, 255}:
            raise DataError(explain_binary(f"The mask {path} holds"))
        return self._map(ids, f"The mask {path}")

    def sample_name(self, index: int) -> str:
        """The name of one sample."""
        return self.pairs[index].name

    def mask_file(self, index: int) -> MaskFile:
        """The mask's file and its mapping."""
        return MaskFile(self.pairs[index].mask, self.ids)


def explain_binary(subject: str) -> str:
    """Error message for black and white masks; ``subject`` is e.g. "The mask ... holds"."""
    return (
        f"{subject} only 0 and 255: a binary mask saved as black and white. 255 is not a class "
        "here; read as unlabeled, the foreground would vanish from training. Add "
        '"values": [0, 255] to classes.json, as in {"names": ["background", "foreground"], '
        '"values": [0, 255]}, or save the masks with the ids 0 and 1. If 255 does mean unlabeled, '
        'add "ignore": 255.'
    )


def pictures_below(folder: Path) -> list[tuple[str, Path]]:
    """The pictures below a folder, sorted, by their relative path without the extension.

    Other files are skipped, with a warning that names them.
    """
    pictures, skipped = [], []
    for path in sorted(folder / name for name in files_below(folder)):
        name = path.relative_to(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            pictures.append((name.with_suffix("").as_posix(), path))
        else:
            skipped.append(name.as_posix())
    if skipped:
        number = "1 file" if len(skipped) == 1 else f"{len(skipped)} files"
        warnings.warn(
            f"{number} in {folder} passed over: {listed(skipped)}; pictures end in "
            f"{', '.join(IMAGE_SUFFIXES)}",
            stacklevel=3,
        )
    return pictures


def listed(names: Sequence[object], shown: int = _SHOWN) -> str:
    """The first few names, separated by commas."""
    return ", ".join(map(str, names[:shown])) + (", ..." if len(names) > shown else "")


def files_below(folder: Path) -> Iterator[str]:
    """The files below a folder as relative paths with "/", in arbitrary order.

    Follows links, since data is often linked from another disk. Hidden files are skipped: macOS
    creates files "._name", which are not pictures. A missing folder gives an empty result.
    """
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(here).relative_to(folder).as_posix()
        for name in names:
            if not name.startswith("."):
                yield name if prefix == "." else f"{prefix}/{name}"


@dataclass(frozen=True)
class Series:
    """The files below a folder with a common suffix, e.g. "_leftImg8bit.png", after the stem."""

    folder: Path
    ending: str

    def file(self, stem: str) -> Path:
        """The file of one stem, which may not exist."""
        return self.folder / f"{stem}{self.ending}"

    def stems(self) -> set[str]:
        """Stems of the existing files, with their subfolders, e.g. "aachen/000000"."""
        files = files_below(self.folder)
        return {name.removesuffix(self.ending) for name in files if name.endswith(self.ending)}


def find_root(
    root: Path, what: str, needed: Sequence[str], expected: str, inside: Sequence[str] = ()
) -> Path:
    """Find the folder that holds the subfolders of a data set.

    Args:
        needed: folders that it must hold.
        inside: subfolders of the root that are searched too.

    Returns:
        ``root`` or one of its subfolders.

    Raises:
        DataError: none of these folders holds the needed subfolders.
    """
    root = Path(root)
    for candidate in (root, *(root / name for name in inside)):
        if all((candidate / name).is_dir() for name in needed):
            return candidate
    if not root.is_dir():
        raise DataError(
            f"The {what} folder {root} does not exist or is not a folder. Expected {expected}."
        )
    absent = next(name for name in needed if not (root / name).is_dir())
    there = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    raise DataError(
        f"{root} is not a {what} folder: it has no '{absent}' folder. Expected {expected}. It "
        f"holds: {listed(there, 8) or 'nothing'}."
    )


def read_listing(path: Path) -> list[str]:
    """Read a split file, one stem per line; it must exist, be non-empty and repeat no stem."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The list of images {path} cannot be read: {error}.") from error
    stems = [line.strip() for line in lines if line.strip()]
    if not stems:
        raise DataError(f"The list of images {path} is empty; it should name one image per line.")
    if len(set(stems)) < len(stems):
        repeated = next(stem for stem in stems if stems.count(stem) > 1)
        raise DataError(f"The list of images {path} names {repeated} more than once.")
    return stems


def pair_up(
    name: str,
    images: Series,
    masks: Series,
    stems: Iterable[str] | None = None,
    published: int | None = None,
) -> list[FilePair]:
    """Pair images with their masks, sorted by stem.

    Args:
        stems: the stems to use; None: all that have an image or a mask.
        published: the published number of images; a different number gives a warning.

    Raises:
        DataError: the set is empty or incomplete, e.g. after an interrupted download.
    """
    wanted = sorted(images.stems() | masks.stems() if stems is None else stems)
    if not wanted:
        raise DataError(
            f"{name} is empty: there is no '*{images.ending}' in {images.folder} and no "
            f"'*{masks.ending}' in {masks.folder}."
        )
    pairs = [FilePair(stem, images.file(stem), masks.file(stem)) for stem in wanted]
    problems = []
    for kind, files in (
        ("images", [pair.image for pair in pairs]),
        ("masks", [pair.mask for pair in pairs]),
    ):
        if missing := _missing(files):
            problems.append(f"{len(missing)} of {len(files)} {kind} are missing: {listed(missing)}")
    if problems:
        raise DataError(
            f"{name} is incomplete: {'; '.join(problems)}. Was the download cut short, or an "
            "archive not unpacked?"
        )
    if published is not None and len(pairs) != published:
        warnings.warn(
            f"{name} has {len(pairs):,} images here, but was published with {published:,}: results "
            "on it compare with no published ones",
            stacklevel=3,
        )
    return pairs


def _missing(files: Sequence[Path]) -> list[Path]:
    # List each folder once: checking every file takes minutes on a network disk.
    there = {
        folder: {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        for folder in {file.parent for file in files}
    }
    return [file for file in files if file.name not in there[file.parent]]
