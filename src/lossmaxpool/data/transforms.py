"""Samples to tensors: augmented for training, whole for evaluation.

A crop is cut out of the source image before it is resized, so that its cost does not depend on the
size of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import Image, Mask

from lossmaxpool.data.sample import IGNORE_INDEX, Sample
from lossmaxpool.spans import random_span

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _normalise(image: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    # One multiply-add per pixel: (x / 255 - mean) / std.
    scale = 1 / (255 * torch.tensor(std)).view(3, 1, 1)
    shift = (torch.tensor(mean) / torch.tensor(std)).view(3, 1, 1)
    return image.float().mul_(scale).sub_(shift)


@dataclass(frozen=True)
class TrainTransform:
    """A random scale, a crop, a flip: a pure function of the sample and a seed.

    The scaled image is cut where it is larger than the crop. Where it is smaller it lies at a
    random place in it, and the rest is ignored (mask) and of the mean colour (image). The image is
    resized bilinearly with antialiasing, the mask by its nearest pixel. The global random state is
    neither used nor changed.

    Attributes:
        crop_size: (height, width) of the crop in pixels.
        scale_range: smallest and largest scale, uniform on a logarithmic axis.
        flip: whether to mirror half of the crops horizontally.
        mean: of each channel, in 0..1.
        std: of each channel, in 0..1.
        color_jitter: largest relative change of brightness, contrast and saturation.

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

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if min(self.crop_size) < 1:
            raise ValueError(f"crop_size must be positive, got {self.crop_size}.")
        if not 0 < low <= high < float("inf"):
            raise ValueError(f"scale_range must be 0 < low <= high, got {self.scale_range}.")
        if not 0 <= self.color_jitter < 1:
            raise ValueError(f"color_jitter must lie in [0, 1), got {self.color_jitter}.")

    def __call__(
        self, sample: Sample, seed: int, pixel: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """One crop.

        Args:
            sample: image (3, H, W) uint8 and mask (H, W) uint8.
            seed: decides scale, place, flip and colours.
            pixel: (row, column) that the crop must contain; None for a crop anywhere.

        Returns:
            Image (3, h, w) float32, normalised, and mask (h, w) int64.
        """
        # A seed and its neighbour must not give similar streams; the seed scrambler sees to that.
        draws = torch.rand(8, generator=torch.Generator().manual_seed(seed)).tolist()
        low, high = self.scale_range
        scale = low * (high / low) ** draws[0]
        row, column = pixel if pixel is not None else (None, None)
        shape, crop_size = sample.mask.shape, self.crop_size
        top, height, pad_top, out_height = random_span(shape[0], crop_size[0], scale, draws[1], row)
        left, width, pad_left, out_width = random_span(
            shape[1], crop_size[1], scale, draws[2], column
        )

        image = Image(sample.image[:, top : top + height, left : left + width])
        mask = Mask(sample.mask[top : top + height, left : left + width])
        size = [out_height, out_width]
        image = F.resize(image, size, InterpolationMode.BILINEAR, antialias=True)
        mask = F.resize(mask, size, InterpolationMode.NEAREST_EXACT)
        if self.flip and draws[3] < 0.5:
            image, mask = F.horizontal_flip(image), F.horizontal_flip(mask)
        if self.color_jitter:
            image = self._jitter(image, draws[4:7])

        window = (
            slice(pad_top, pad_top + out_height),
            slice(pad_left, pad_left + out_width),
        )
        # Zero is the mean colour once normalised.
        crop = torch.zeros(3, *self.crop_size)
        target = torch.full(self.crop_size, IGNORE_INDEX, dtype=torch.int64)
        crop[:, window[0], window[1]] = _normalise(image.as_subclass(Tensor), self.mean, self.std)
        target[window] = mask.as_subclass(Tensor).long()
        return crop, target

    def _jitter(self, image: Image, draws: list[float]) -> Image:
        factors = [1 + self.color_jitter * (2 * draw - 1) for draw in draws]
        image = F.adjust_brightness(image, factors[0])
        image = F.adjust_contrast(image, factors[1])
        jittered: Image = F.adjust_saturation(image, factors[2])
        return jittered


@dataclass(frozen=True)
class EvalTransform:
    """The whole image, normalised, at its own size.

    Attributes:
        mean: of each channel, in 0..1.
        std: of each channel, in 0..1.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __call__(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """One image.

        Args:
            sample: image (3, H, W) uint8 and mask (H, W) uint8.

        Returns:
            Image (3, H, W) float32, normalised, and mask (H, W) int64.
        """
        return _normalise(sample.image, self.mean, self.std), sample.mask.long()
