"""Draws to crops, for a data set of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import Dataset

from lossmaxpool.crops import RandomCrop
from lossmaxpool.sampling.draws import Draw


class Pairs(Protocol):
    """Images (D, H, W) with their masks (H, W), by number."""

    def __getitem__(self, index: int, /) -> Any: ...


class DrawnCrops(Dataset[Any]):
    """Crops of a data set, addressed by draws: random scale, the crop of the draw, random flip.

    A crop that is drawn by class contains the pixel that was drawn, wherever in it. (Where the mask
    is scaled down, each of its new pixels has the class of the nearest old one: a thing that is
    thinner than 1 / scale pixels may show its neighbours.) A crop is a pure function of its draw;
    the global random state is neither used nor changed.

    Args:
        dataset: ``dataset[i]`` is an image (D, H, W), floating-point or uint8, and a mask (H, W)
            of class ids. It must not be augmented: the class index describes its masks.
        crop_size: (height, width) in pixels.
        scale_range: Smallest and largest scale, uniform on a logarithmic axis.
        flip: Whether to mirror half of the crops horizontally.
        fill: Value of the image where a crop reaches beyond it.
        ignore_index: Value of the mask there.
        transform: Makes what the loader collates of an image (D, h, w) and its mask (h, w) int64;
            None leaves the pair.

    Raises:
        ValueError: A size or scale is outside its range.

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
        crop_size: tuple[int, int],
        *,
        scale_range: tuple[float, float] = (0.5, 2.0),
        flip: bool = True,
        fill: float = 0.0,
        ignore_index: int = 255,
        transform: Callable[[Tensor, Tensor], Any] | None = None,
    ) -> None:
        self.crop = RandomCrop(crop_size, scale_range, flip)
        self.dataset = dataset
        self.fill = fill
        self.ignore_index = ignore_index
        self.transform = transform

    def __getitem__(self, draw: Draw) -> Any:
        """The crop of a draw: an image (D, h, w) and a mask (h, w) int64, transformed."""
        image, mask = self.dataset[draw.image]
        if image.ndim != 3 or image.shape[1:] != mask.shape:
            raise ValueError(
                f"item {draw.image} has an image {tuple(image.shape)} and a mask "
                f"{tuple(mask.shape)}; expected (D, H, W) and (H, W)"
            )
        pair = self.crop(
            image,
            mask,
            draw.seed,
            draw.pixel(mask),
            fill=self.fill,
            ignore_index=self.ignore_index,
        )
        return pair if self.transform is None else self.transform(*pair)
