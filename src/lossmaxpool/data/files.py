"""Pairs of image and mask files: what every reader of files on disk shares."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from lossmaxpool.data.dataset import MaskFile, SegmentationDataset
from lossmaxpool.data.decode import ImageRange, PictureFacts, read_ids, read_picture
from lossmaxpool.data.errors import DataError
from lossmaxpool.data.id_map import IdMap
from lossmaxpool.data.sample import LabelSet, Sample

_SHOWN = 5
"""How many files a message names."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class FilePair:
    """An image file, its mask file and the name that they share."""

    name: str
    image: Path
    mask: Path


def warn_skipped(folder: Path, names: Sequence[str]) -> None:
    """Say which files of a folder are passed over, as they are no pictures that can be read."""
    if names:
        more = ", ..." if len(names) > _SHOWN else ""
        number = "1 file" if len(names) == 1 else f"{len(names)} files"
        warnings.warn(
            f"{number} in {folder} passed over: {', '.join(names[:_SHOWN])}{more}; pictures end in "
            f"{', '.join(IMAGE_SUFFIXES)}",
            stacklevel=3,
        )


def explain_binary(subject: str) -> str:
    """The message for masks that were saved as black and white.

    Args:
        subject: "The mask ... holds" or the like.
    """
    return (
        f"{subject} only 0 and 255: a binary mask saved as black and white. 255 is no class here; "
        "read as unlabelled, the foreground would vanish from training. Add "
        '"values": [0, 255] to classes.json, as in {"names": ["background", "foreground"], '
        '"values": [0, 255]}, or save the masks with the ids 0 and 1. If 255 does mean unlabelled, '
        'add "ignore": 255.'
    )


class FileDataset(SegmentationDataset):
    """Image and mask files, the ids of the files mapped to classes.

    Args:
        name: of the data set and its split.
        labels: the classes.
        pairs: the files, in the order of the data set.
        ids: file id -> class id, or ``IGNORE_INDEX``; any other id in a mask is an error.
        image_range: the values of black and white in pictures of 16 bits; None for 0 and 65535.

    Attributes:
        ignores_255: whether 255 means "unlabelled" only because nothing else was said, so that the
            foreground of a mask saved as black and white would vanish.
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
        """The sample of one index, and how its picture is stored."""
        pair = self.pairs[index]
        (image, facts), mask = read_picture(pair.image, self.image_range), self.mask(index)
        if image.shape[1:] != mask.shape:
            raise DataError(
                f"The mask {pair.mask} is {mask.shape[1]}x{mask.shape[0]} (width x height), but "
                f"its image {pair.image} is {image.shape[2]}x{image.shape[1]}. They must match."
            )
        return Sample(image, mask, pair.name), facts

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
