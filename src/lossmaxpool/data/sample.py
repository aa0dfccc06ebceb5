"""Samples, their classes, and the data set that holds them: the interface of every reader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lossmaxpool.checks import did_you_mean


class DataError(ValueError):
    """A data set cannot be read; the message says what was found, expected and how to fix it."""


IGNORE_INDEX = 255
"""The id of an unlabeled pixel in every mask of this package, whatever the files use."""


@dataclass(frozen=True)
class Sample:
    """One image and its mask.

    Attributes:
        image: (3, H, W) uint8, RGB.
        mask: (H, W) uint8 class ids, ``IGNORE_INDEX`` where unlabeled.
        name: unique within the data set, without extension; may contain "/".
    """

    image: Tensor
    mask: Tensor
    name: str


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set, in the order of their ids.

    Attributes:
        names: C distinct, non-empty names.
        colors: C colors (red, green, blue) of 0..255, for pictures only.

    Raises:
        DataError: if names repeat or are empty, or the colors do not match the names.

    Example:
        >>> LabelSet(("road", "sky"), ((128, 64, 128), (70, 130, 180))).num_classes
        2
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.names) < IGNORE_INDEX:
            raise DataError(
                f"A label set needs 2 to {IGNORE_INDEX - 1} classes, got {len(self.names)}: "
                f"{', '.join(self.names) or 'none'}."
                + (
                    " Add 'background' as the first class: the pixels of no other class are of it."
                    if len(self.names) == 1
                    else ""
                )
            )
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated or not all(self.names):
            what = f"repeated: {', '.join(repeated)}" if repeated else "an empty name"
            raise DataError(f"Class names must be distinct and not empty, got {what}.")
        if len(self.colors) != len(self.names):
            raise DataError(
                f"{len(self.names)} classes need {len(self.names)} colors, got {len(self.colors)}."
            )
        for name, color in zip(self.names, self.colors, strict=True):
            if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
                raise DataError(f"The color of '{name}' must be three values of 0..255: {color}.")

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return len(self.names)


@dataclass(frozen=True)
class MaskFile:
    """The file and id mapping that determine a mask, used as a key for cached counts."""

    path: Path
    ids: Mapping[int, int]


class SegmentationDataset(Dataset[Sample], ABC):
    """Labeled images, addressed by index.

    Attributes:
        name: of the data set and its split, for records and messages.
        labels: the classes.
    """

    name: str
    labels: LabelSet

    @abstractmethod
    def __len__(self) -> int:
        """The number of images."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The image and mask of one index; a pure function of it."""

    @abstractmethod
    def mask(self, index: int) -> Tensor:
        """The mask of one index, (H, W) uint8, without decoding the image."""

    @abstractmethod
    def sample_name(self, index: int) -> str:
        """The name of one sample, without decoding anything."""

    def mask_file(self, index: int) -> MaskFile | None:
        """The file that determines the mask of one index; None if there is no such file."""
        return None


def paired(image: Tensor, mask: Tensor, name: str, *, the_mask: str, its_image: str) -> Sample:
    """Return a sample, or raise where its mask has another size; the last two are for messages."""
    if image.shape[1:] != mask.shape:
        raise DataError(
            f"{the_mask} is {mask.shape[1]}x{mask.shape[0]} (width x height), but {its_image} is "
            f"{image.shape[2]}x{image.shape[1]}. They must match."
        )
    return Sample(image, mask, name)


def check_is(value: object, kind: type) -> None:
    """Raise TypeError for a data set of another library, or an item of one."""
    if not isinstance(value, kind):
        raise TypeError(
            f"expected a {kind.__name__}, got a {type(value).__name__}: wrap the data set, as in "
            "WrappedDataset(dataset, labels, image=..., mask=...)"
        )


def check_first_sample(dataset: SegmentationDataset) -> None:
    """Refuse a data set of somebody's own whose first sample is not as training reads it.

    Raises:
        DataError: It has no images, no labels, or its first sample has other types or sizes.
    """
    kind = type(dataset).__name__
    labels = getattr(dataset, "labels", None)
    if not isinstance(labels, LabelSet) or not isinstance(getattr(dataset, "name", None), str):
        raise DataError(f"{kind} needs the attributes labels, a LabelSet, and name, a text.")
    if not len(dataset):
        raise DataError(f"{dataset.name} has no images: give a split that has some.")
    sample = dataset[0]
    if not isinstance(sample, Sample):
        raise DataError(
            f"Item 0 of {dataset.name} is a {type(sample).__name__}: expected a Sample, with "
            "image, mask and name."
        )
    size = getattr(sample.image, "shape", ())[1:]
    for what, tensor, shape, form in (
        ("image", sample.image, (3, *size), "(3, H, W)"),
        ("mask", sample.mask, size, "(H, W), as the image's"),
        ("mask(0)", dataset.mask(0), size, "(H, W), as the image's"),
    ):
        fits = isinstance(tensor, Tensor) and tensor.dtype == torch.uint8
        if not fits or len(size) != 2 or tuple(tensor.shape) != tuple(shape):
            came = (
                f"{tensor.dtype} of shape {tuple(tensor.shape)}"
                if isinstance(tensor, Tensor)
                else f"a {type(tensor).__name__}"
            )
            raise DataError(
                f"The {what} of item 0 of {dataset.name} is {came}: expected a tensor of "
                f"torch.uint8 of shape {form}."
            )


def unknown_choice(what: str, given: str, choices: Iterable[str]) -> str:
    """Error message for an unknown name, with a suggestion and the valid names.

    Example:
        >>> unknown_choice("split", "vall", ["train", "val"])
        "Unknown split 'vall'. Did you mean 'val'? There are: train, val."
    """
    known = list(choices)
    sentences = (
        f"Unknown {what} '{given}'.",
        did_you_mean(given, known),
        f"There are: {', '.join(known)}.",
    )
    return " ".join(filter(None, sentences))


def check_choice(what: str, given: str, choices: Iterable[str]) -> None:
    """Raise DataError for an unknown name."""
    known = list(choices)
    if given not in known:
        raise DataError(unknown_choice(what, given, known))
