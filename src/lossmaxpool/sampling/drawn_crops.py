"""Data set of crops addressed by draws, for any user data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import Dataset

from lossmaxpool.crops import RandomCrop
from lossmaxpool.sampling.draws import Draw


class Pairs(Protocol):
    """Images (D, H, W) with their masks (H, W), by index."""

    def __getitem__(self, index: int, /) -> Any: ...
    def __len__(self) -> int: ...


class DrawnCrops(Dataset[Any]):
    """Crops of a data set, addressed by draws: random scale, crop and flip.

    A crop drawn by class contains the drawn pixel at a random position. (If a mask is scaled down,
    each new pixel takes the class of the nearest old one, so objects thinner than 1 / scale pixels
    may be missing.) A crop is a pure function of its draw; the global random state is neither used
    nor changed.

    Args:
        dataset: ``dataset[i]`` holds an image (D, H, W), floating-point or uint8, and a mask (H, W)
            of class ids, both tensors: as a pair, under the keys "image" and "mask", or as
            attributes of these names. It must not be augmented: the class index describes its
            masks.
        crop_size: (height, width) in pixels, or one number for both.
        scale_range: Smallest and largest scale, uniform on a logarithmic axis.
        flip: Whether to mirror half of the crops horizontally.
        fill: Value of the image where a crop reaches beyond it.
        ignore_index: Value of the mask there.
        transform: Maps an image (D, h, w) and its mask (h, w) int64 to the item that the loader
            collates; None returns the pair.

    Raises:
        ValueError: A size or scale is outside its range. While iterating: an item has an
            unsupported type; the message says how to convert it.
        TypeError: While iterating: an index is a plain number instead of a draw.

    Example:
        >>> image, mask = torch.zeros(3, 8, 8), torch.eye(8, dtype=torch.long)
        >>> crops = DrawnCrops([(image, mask)], crop_size=(4, 4))
        >>> crop, target = crops[Draw(image=0, seed=5, focus=1)]
        >>> tuple(crop.shape), tuple(target.shape)
        ((3, 4, 4), (4, 4))
    """

    def __init__(
        self,
        dataset: Pairs,
        crop_size: int | tuple[int, int],
        *,
        scale_range: tuple[float, float] = (0.5, 2.0),
        flip: bool = True,
        fill: float = 0.0,
        ignore_index: int = 255,
        transform: Callable[[Tensor, Tensor], Any] | None = None,
    ) -> None:
        size = (crop_size,) * 2 if isinstance(crop_size, int) else tuple(crop_size)
        if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
            raise ValueError(
                f"crop_size must be positive, (height, width) or one number for both, "
                f"got {crop_size}"
            )
        self.crop = RandomCrop(size, scale_range, flip)
        self.dataset = dataset
        self.fill = fill
        self.ignore_index = ignore_index
        self.transform = transform

    def __len__(self) -> int:
        """The number of images."""
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> Any:
        """The crop of a draw: an image (D, h, w) and a mask (h, w) int64, transformed."""
        if isinstance(draw, int):
            raise TypeError(
                f"DrawnCrops is addressed by draws, got the number {draw}: give its DataLoader a "
                "PerformanceSampler as batch_sampler, and neither batch_size nor shuffle"
            )
        image, mask = _pair(self.dataset[draw.image], draw.image)
        pair = self.crop(
            image,
            mask,
            draw.seed,
            draw.pixel(mask),
            fill=self.fill,
            ignore_index=self.ignore_index,
        )
        return pair if self.transform is None else self.transform(*pair)


def _pair(item: Any, number: int) -> tuple[Tensor, Tensor]:
    """The image and the mask of an item; errors say how to convert unsupported types."""
    if isinstance(item, Mapping) and "image" in item and "mask" in item:
        image, mask = item["image"], item["mask"]
    elif hasattr(item, "image") and hasattr(item, "mask"):
        image, mask = item.image, item.mask
    elif isinstance(item, (tuple, list)) and len(item) == 2:
        image, mask = item
    else:
        held = f" with the keys {', '.join(map(str, item))}" if isinstance(item, Mapping) else ""
        held = f" of {len(item)}" if isinstance(item, (tuple, list)) else held
        raise ValueError(
            f"item {number} is a {type(item).__name__}{held}; expected an image (D, H, W) and a "
            'mask (H, W): as a pair, or under the keys "image" and "mask"'
        )
    for name, value, remedy in (
        ("image", image, "torch.as_tensor(numpy.array(image)).permute(2, 0, 1)"),
        ("mask", mask, "torch.as_tensor(numpy.array(mask))"),
    ):
        if not isinstance(value, Tensor):
            raise ValueError(
                f"item {number} has a {type(value).__name__} as its {name}; expected tensors, an "
                "image (D, H, W) and a mask (H, W): return "
                f"{remedy} from the data set"
            )
    if mask.is_floating_point() or mask.is_complex():
        raise ValueError(
            f"item {number} has a mask of {mask.dtype}; expected integer class ids: use mask.long()"
        )
    if image.ndim != 3 or image.shape[1:] != mask.shape:
        raise ValueError(
            f"item {number} has an image {tuple(image.shape)} and a mask {tuple(mask.shape)}; "
            "expected (D, H, W) and (H, W): permute(2, 0, 1) puts channels first, image[None] "
            "adds a missing one, and mask.squeeze(0) takes one away"
        )
    return image, mask
