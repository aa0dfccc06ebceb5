"""What every reader yields: an image with its class ids, and the classes' names and colours."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lossmaxpool.data.errors import DataError

IGNORE_INDEX = 255
"""The id of an unlabelled pixel in every mask of this package, whatever the files use."""


@dataclass(frozen=True)
class Sample:
    """One image and its mask.

    Attributes:
        image: (3, H, W) uint8, RGB.
        mask: (H, W) uint8 class ids, ``IGNORE_INDEX`` where unlabelled.
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
        colors: C colours (red, green, blue) of 0..255, for pictures only.

    Raises:
        DataError: if names repeat or are empty, or the colours do not match the names.

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
                f"{len(self.names)} classes need {len(self.names)} colours, got {len(self.colors)}."
            )
        for name, color in zip(self.names, self.colors, strict=True):
            if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
                raise DataError(f"The colour of '{name}' must be three values of 0..255: {color}.")

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return len(self.names)
