"""Where the files of a published data set lie, and which of them are missing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lossmaxpool.data.errors import DataError
from lossmaxpool.data.files import FilePair
from lossmaxpool.data.walk import files_below

_SHOWN = 3
"""How many missing files an error names."""


@dataclass(frozen=True)
class Series:
    """The files below a folder that end alike; what stands before the ending is the stem.

    Attributes:
        folder: where they are, subfolders included.
        ending: as in "_leftImg8bit.png".
    """

    folder: Path
    ending: str

    def file(self, stem: str) -> Path:
        """The file of one stem, whether it is there or not."""
        return self.folder / f"{stem}{self.ending}"

    def stems(self) -> set[str]:
        """Stems of the files that are there, with their subfolders, as in "aachen/000000"."""
        return {
            name.removesuffix(self.ending)
            for name in files_below(self.folder)
            if name.endswith(self.ending)
        }


def find_root(
    root: Path, what: str, needed: Sequence[str], expected: str, inside: Sequence[str] = ()
) -> Path:
    """The folder that holds the folders of a data set.

    Args:
        root: what the user gave.
        what: the data set, for the message.
        needed: folders that it must hold.
        expected: the layout, for the message.
        inside: subfolders of the root where the data set may lie instead.

    Returns:
        ``root`` or one of its subfolders.

    Raises:
        DataError: none of them holds what is needed.
    """
    root = Path(root)
    for candidate in (root, *(root / name for name in inside)):
        if all((candidate / name).is_dir() for name in needed):
            return candidate
    if not root.is_dir():
        raise DataError(
            f"The {what} folder {root} does not exist or is no folder. Expected {expected}."
        )
    absent = next(name for name in needed if not (root / name).is_dir())
    there = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    listed = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
    raise DataError(
        f"{root} is not a {what} folder: it has no '{absent}' folder. Expected {expected}. It "
        f"holds: {listed or 'nothing'}."
    )


def read_listing(path: Path) -> list[str]:
    """The stems of a split file, one a line.

    Args:
        path: a text file.

    Raises:
        DataError: it is missing, empty or names a stem twice.
    """
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
    name: str, images: Series, masks: Series, stems: Iterable[str] | None = None
) -> list[FilePair]:
    """Images with their masks, sorted by stem.

    Args:
        name: of the data set and its split, for messages.
        images: the image files.
        masks: the mask files.
        stems: those wanted; where None, all that have an image or a mask.

    Raises:
        DataError: saying which images and masks are missing, and how many.
    """
    wanted = sorted(images.stems() | masks.stems() if stems is None else stems)
    if not wanted:
        raise DataError(
            f"{name} is empty: there is no '*{images.ending}' in {images.folder} and no "
            f"'*{masks.ending}' in {masks.folder}."
        )
    pairs = [FilePair(stem, images.file(stem), masks.file(stem)) for stem in wanted]
    check_complete(name, pairs)
    return pairs


def check_complete(name: str, pairs: Sequence[FilePair]) -> None:
    """Refuses a data set of which a part is missing: a download that stopped, a part not unpacked.

    Args:
        name: of the data set and its split, for the message.
        pairs: all files that should be there.

    Raises:
        DataError: saying how many images and masks are missing, and the first few.
    """
    problems = []
    for kind, files in (
        ("images", [pair.image for pair in pairs]),
        ("masks", [pair.mask for pair in pairs]),
    ):
        missing = _missing(files)
        if missing:
            first = ", ".join(map(str, missing[:_SHOWN])) + (
                ", ..." if len(missing) > _SHOWN else ""
            )
            problems.append(f"{len(missing)} of {len(files)} {kind} are missing: {first}")
    if problems:
        raise DataError(
            f"{name} is incomplete: {'; '.join(problems)}. Was the download cut short, or an "
            "archive not unpacked?"
        )


def _missing(files: Sequence[Path]) -> list[Path]:
    # One listing per folder: asking for every file takes minutes on a network disk.
    there = {
        folder: {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        for folder in {file.parent for file in files}
    }
    return [file for file in files if file.name not in there[file.parent]]


def report_count(name: str, found: int, published: int) -> None:
    """Warns where a split has another number of images than was published.

    Args:
        name: of the data set and its split.
        found: images that are there.
        published: images that the publishers count.
    """
    if found != published:
        warnings.warn(
            f"{name} has {found:,} images here, but was published with {published:,}: results on "
            "it compare with no published ones",
            stacklevel=3,
        )
