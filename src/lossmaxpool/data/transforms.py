"""Samples to tensors: augmented crops for training, whole images for evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lossmaxpool.crops import RandomCrop
from lossmaxpool.data.sample import IGNORE_INDEX, Sample, SegmentationDataset, check_is
from lossmaxpool.options import IMAGENET_MEAN, IMAGENET_STD


def _normalize(image: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    # One multiply-add per pixel: (x / 255 - mean) / std.
    scale = 1 / (255 * torch.tensor(std)).view(3, 1, 1)
    shift = (torch.tensor(mean) / torch.tensor(std)).view(3, 1, 1)
    return image.float().mul_(scale).sub_(shift)


@dataclass(frozen=True)
class TrainTransform:
    """Random scale, crop and flip: a pure function of the sample and a seed.

    The crop is a :class:`~lossmaxpool.crops.RandomCrop`. Beyond the image, the mask is ignored and
    the image has the mean color. The global random state is neither used nor changed.

    Attributes:
        crop_size: (height, width) of the crop in pixels.
        scale_range: smallest and largest scale, uniform on a logarithmic axis.
        flip: whether to mirror half of the crops horizontally.
        mean: of each channel, in 0..1.
        std: of each channel, in 0..1.
        color_jitter: largest relative change of brightness, contrast and saturation.
        hue_jitter: largest change of the hue, as a share of the color circle.

    Raises:
        ValueError: an attribute is outside its range.

    Example:
        >>> from lossmaxpool.data import StreetScenes
        >>> image, mask = TrainTransform((64, 96))(StreetScenes()[0], seed=1)
        >>> tuple(image.shape), tuple(mask.shape)
        ((3, 64, 96), (64, 96))
    """

    crop_size: tuple[int, int]
    scale_range: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    color_jitter: float = 0.0
    hue_jitter: float = 0.0

    def __post_init__(self) -> None:
        RandomCrop(self.crop_size, self.scale_range)
        if not 0 <= self.color_jitter < 1:
            raise ValueError(f"color_jitter must lie in [0, 1), got {self.color_jitter}.")
        if not 0 <= self.hue_jitter <= 0.5:
            raise ValueError(f"hue_jitter must lie in [0, 0.5], got {self.hue_jitter}.")

    @property
    def crop(self) -> RandomCrop:
        """The scale, crop and flip."""
        return RandomCrop(self.crop_size, self.scale_range, self.flip)

    def __call__(
        self, sample: Sample, seed: int, pixel: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take one crop.

        Args:
            sample: image (3, H, W) uint8 and mask (H, W) uint8.
            seed: determines scale, position, flip and colors.
            pixel: (row, column) that the crop must contain; None for a crop anywhere.

        Returns:
            Image (3, h, w) float32, normalized, and mask (h, w) int64.
        """
        check_is(sample, Sample)

        def finish(piece: Tensor) -> Tensor:
            if self.color_jitter or self.hue_jitter:
                piece = self._jitter(piece, seed)
            return _normalize(piece, self.mean, self.std)

        # Zero is the mean color once normalized.
        return self.crop(
            sample.image, sample.mask, seed, pixel, ignore_index=IGNORE_INDEX, finish=finish
        )

    def _jitter(self, image: Tensor, seed: int) -> Tensor:
        from torchvision.transforms.v2 import functional as F  # slow import (a second)

        # The first four draws of this seed determine the crop.
        draws = torch.rand(8, generator=torch.Generator().manual_seed(seed)).tolist()[4:]
        offsets = [2 * draw - 1 for draw in draws]
        if self.color_jitter:
            factors = [1 + self.color_jitter * offset for offset in offsets]
            image = F.adjust_brightness(image, factors[0])
            image = F.adjust_contrast(image, factors[1])
            image = F.adjust_saturation(image, factors[2])
        if self.hue_jitter:
            image = F.adjust_hue(image, self.hue_jitter * offsets[3])
        return image


@dataclass(frozen=True)
class EvalTransform:
    """The whole image, normalized, at its own size.

    Attributes:
        mean: of each channel, in 0..1.
        std: of each channel, in 0..1.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __call__(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """One image.

        Returns:
            Image (3, H, W) float32, normalized, and mask (H, W) int64.
        """
        check_is(sample, Sample)
        return self.normalized(sample.image), sample.mask.long()

    def normalized(self, image: Tensor) -> Tensor:
        """An image (3, H, W) uint8 without a mask, as float32."""
        return _normalize(image, self.mean, self.std)


Item = dict[str, Tensor]


class Address(Protocol):
    """Address of a crop: the image, the seed, and the pixel that the crop must contain."""

    @property
    def image(self) -> int: ...
    @property
    def seed(self) -> int: ...
    def pixel(self, mask: Tensor, /) -> tuple[int, int] | None: ...


class AugmentedDataset(Dataset[Item]):
    """Training crops, addressed by draws.

    The seed is part of the address, so that a crop depends neither on the worker nor on the order
    in which crops are drawn.

    Args:
        dataset: the labeled images.
        transform: the augmentation.
    """

    def __init__(self, dataset: SegmentationDataset, transform: TrainTransform) -> None:
        check_is(dataset, SegmentationDataset)
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, address: Address) -> Item:
        """``image`` (3, h, w) float32, ``mask`` (h, w) int64, ``index`` () int64 and ``place``.

        The place (7,) float32 is that of :meth:`~lossmaxpool.crops.RandomCrop.place`, and height
        and width of the image.
        """
        sample = self.dataset[address.image]
        pixel = address.pixel(sample.mask)
        image, mask = self.transform(sample, address.seed, pixel)
        height, width = sample.mask.shape
        place = (*self.transform.crop.place(height, width, address.seed, pixel), height, width)
        return {
            "image": image,
            "mask": mask,
            "index": torch.tensor(address.image),
            "place": torch.tensor(place, dtype=torch.float32),
        }
