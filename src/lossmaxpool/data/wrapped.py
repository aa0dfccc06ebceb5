"""Adapter for data sets of other libraries that have a length and items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lossmaxpool.data.decode import IdMap, image_tensor, picture_ids
from lossmaxpool.data.sample import (
    IGNORE_INDEX,
    DataError,
    LabelSet,
    Sample,
    SegmentationDataset,
    paired,
)


class Items(Protocol):
    """An object with a length and items, such as torchvision's and Hugging Face's data sets."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


Locator = str | int | Callable[[Any], object]
"""Where an item holds something: a key, a position, or a function of the item."""


class WrappedDataset(SegmentationDataset):
    """Any object with a length and items: torchvision's data sets, Hugging Face's, your own.

    Images may be pictures of Pillow, arrays (H, W, 3) or tensors (3, H, W) of bytes; masks may be
    single-channel or palette pictures, or (H, W) integers. The source must not apply transforms:
    this package resizes, crops and normalizes itself.

    Args:
        source: the object.
        labels: the classes.
        image: where an item holds its image: a key, a position, or a function of the item.
        mask: where an item holds its mask.
        ids: id in the masks -> class id, or ``IGNORE_INDEX``; None: 0..C-1, and 255 is ignored.
        name: of the data set and its split.

    Raises:
        DataError: the source has no length.

    Example:
        >>> picture, ids = Image.new("RGB", (8, 6)), np.ones((6, 8), dtype=np.uint8)
        >>> labels = LabelSet(("sky", "road"), ((0, 0, 255), (90, 90, 90)))
        >>> rows = [{"image": picture, "annotation": ids}]
        >>> data = WrappedDataset(rows, labels, image="image", mask="annotation")
        >>> tuple(data[0].image.shape), int(data[0].mask.unique())
        ((3, 6, 8), 1)
    """

    def __init__(
        self,
        source: Items,
        labels: LabelSet,
        *,
        image: Locator = 0,
        mask: Locator = 1,
        ids: Mapping[int, int] | None = None,
        name: str = "wrapped",
    ) -> None:
        if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
            raise DataError(
                f"A wrapped data set must have a length and items, but {type(source).__name__} is "
                "only gone through in order. Give the data set itself, not its iterator or stream."
            )
        self.source, self.labels, self.name = source, labels, name
        self._image, self._mask = image, mask
        same = {c: c for c in range(labels.num_classes)} | {255: IGNORE_INDEX}
        self._map = IdMap(labels, same if ids is None else ids)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        item = self.source[index]
        place = f"of item {index} of {self.name}"
        image = _to_image(self._part(item, index, "image"), f"The image {place}")
        mask, name = self._to_mask(item, index), self.sample_name(index)
        return paired(image, mask, name, the_mask=f"The mask {place}", its_image="its image")

    def mask(self, index: int) -> Tensor:
        """The mask of one index, (H, W) uint8; the source may decode the image too."""
        return self._to_mask(self.source[index], index)

    def sample_name(self, index: int) -> str:
        """The index of the item, as its name."""
        return f"{index:06d}"

    def _to_mask(self, item: Any, index: int) -> Tensor:
        subject = f"The mask of item {index} of {self.name}"
        return self._map(_to_ids(self._part(item, index, "mask"), subject), subject)

    def _part(self, item: Any, index: int, kind: str) -> object:
        part = self._image if kind == "image" else self._mask
        if callable(part):
            return part(item)
        try:
            return item[part]
        except (KeyError, IndexError, TypeError) as error:
            there = (
                f"the keys {', '.join(map(str, item))}"
                if isinstance(item, Mapping)
                else f"{len(item)} parts"
                if isinstance(item, (tuple, list))
                else f"no parts: it is a {type(item).__name__}"
            )
            raise DataError(
                f"Item {index} of {self.name} has no {part!r}, where its {kind} should be; it has "
                f"{there}. Set {kind}= to the right key, position or function."
            ) from error


def _to_image(value: object, subject: str) -> Tensor:
    if isinstance(value, Image.Image):
        # Copy: the source may keep its picture, which must not be rotated in place.
        return image_tensor(value.copy(), subject)
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.array(value))
        value = value.permute(2, 0, 1) if value.ndim == 3 else value
    if not isinstance(value, Tensor):
        raise _no_pixels(value, subject)
    image = value.as_subclass(Tensor)
    image = image.unsqueeze(0) if image.ndim == 2 else image
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
        raise DataError(
            f"{subject} is {image.dtype} of shape {tuple(image.shape)}; expected bytes, 3 x height "
            "x width in a tensor or height x width x 3 in an array. Take the source's transform "
            "to floats out."
        )
    return image.expand(3, -1, -1).contiguous()


def _no_pixels(value: object, subject: str) -> DataError:
    kind = type(value).__name__
    return DataError(f"{subject} is a {kind}; expected a picture of Pillow, an array or a tensor.")


def _to_ids(value: object, subject: str) -> NDArray[np.integer]:
    if isinstance(value, Image.Image):
        return picture_ids(value, subject)
    if isinstance(value, Tensor):
        value = value.as_subclass(Tensor).numpy()
    if not isinstance(value, np.ndarray):
        raise _no_pixels(value, subject)
    ids = value[0] if value.ndim == 3 and value.shape[0] == 1 else value
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise DataError(
            f"{subject} is {ids.dtype} of shape {ids.shape}; expected integers, height x width."
        )
    return ids
