"""A random, scaled crop of an image and its mask, shared by training and the sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Span(NamedTuple):
    """One axis of a crop: ``length`` source pixels from ``start`` on become ``output`` pixels.

    ``padding`` empty pixels precede them; the rest of the crop is empty too.
    """

    start: int
    length: int
    padding: int
    output: int


def random_span(
    length: int, crop: int, scale: float, draw: float, place: int | None = None
) -> Span:
    """A random crop along one axis of a scaled image, uniform among those that contain ``place``.

    A crop of the scaled image covers ``round(crop / scale)`` source pixels. If the source is at
    least that long, the crop lies inside it, and every integer start at which it contains ``place``
    is equally likely. If the source is shorter, the crop shows all of it, including ``place``, and
    the scaled image is placed uniformly at random within the crop.

    Args:
        length: Pixels of the source.
        crop: Pixels of the crop.
        scale: Pixels of the scaled image per pixel of the source.
        draw: A random number in [0, 1) that determines the position of the crop.
        place: The source pixel to contain, in [0, length); None for a crop anywhere.

    Returns:
        The source pixels to cut out, and their position in the crop.

    Raises:
        ValueError: The place is not in the image.

    Example:
        >>> random_span(100, crop=10, scale=0.5, draw=0.999, place=7)
        Span(start=7, length=20, padding=0, output=10)
    """
    if place is not None and not 0 <= place < length:
        raise ValueError(f"place is {place}: expected a pixel of the image, 0 to {length - 1}")
    shown = max(1, round(crop / scale))
    if shown > length:
        output = min(crop, max(1, round(length * scale)))
        return Span(0, length, int(draw * (crop - output + 1)), output)
    first, last = 0, length - shown
    if place is not None:
        first, last = max(first, place - shown + 1), min(last, place)
    return Span(first + int(draw * (last - first + 1)), shown, 0, crop)


@dataclass(frozen=True)
class RandomCrop:
    """A random scale, a crop and a flip: a pure function of the image, its mask and a seed.

    If the scaled image is larger than the crop, it is cut; if smaller, it is placed at random in
    the crop and padded. The image is resized bilinearly with antialiasing, the mask with nearest
    neighbor. The global random state is not used.

    Args:
        crop_size: (height, width) of the crop in pixels.
        scale_range: Smallest and largest scale, uniform on a logarithmic axis.
        flip: Whether to mirror half of the crops horizontally.

    Raises:
        ValueError: A size or a scale is outside its range.
    """

    crop_size: tuple[int, int]
    scale_range: tuple[float, float] = (0.5, 2.0)
    flip: bool = True

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if min(self.crop_size) < 1:
            raise ValueError(f"crop_size must be positive, got {self.crop_size}")
        if not 0 < low <= high < float("inf"):
            raise ValueError(f"scale_range must be 0 < low <= high, got {self.scale_range}")

    def __call__(
        self,
        image: Tensor,
        mask: Tensor,
        seed: int,
        pixel: tuple[int, int] | None = None,
        *,
        fill: float = 0.0,
        ignore_index: int = 255,
        finish: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Take one crop.

        Args:
            image: (D, H, W), floating-point or uint8.
            mask: (H, W) integer class ids.
            seed: Determines scale, position and flip.
            pixel: (row, column) that the crop must contain; None for a crop anywhere.
            fill: Value of the crop where it reaches beyond the image, after ``finish``.
            ignore_index: Value of the mask there.
            finish: Applied to the scaled part of the image, (D, h', w'), before it is placed in
                the crop: normalization, colors.

        Returns:
            Image (D, h, w) of the dtype that ``finish`` returns, and mask (h, w) int64.
        """
        y, x, flipped = self._spans(mask.shape[0], mask.shape[1], seed, pixel)
        # Crop before scaling, so that the cost does not depend on the image size.
        source = (..., slice(y.start, y.start + y.length), slice(x.start, x.start + x.length))
        piece, labels = _resize(image[source], (y.output, x.output)), mask[source].long()
        labels = labels[_nearest(y.length, y.output)][:, _nearest(x.length, x.output)]
        if flipped:
            piece, labels = piece.flip(-1), labels.flip(-1)
        if finish is not None:
            piece = finish(piece)
        window = (
            ...,
            slice(y.padding, y.padding + y.output),
            slice(x.padding, x.padding + x.output),
        )
        crop = piece.new_full((piece.shape[0], *self.crop_size), fill)
        target = torch.full(self.crop_size, ignore_index, dtype=torch.int64)
        crop[window], target[window] = piece, labels
        return crop, target

    def place(
        self, height: int, width: int, seed: int, pixel: tuple[int, int] | None = None
    ) -> tuple[float, float, float, float, bool]:
        """Where the crop of a seed lies in its image.

        Returns:
            Top, left, bottom and right in shares of the image, beyond it where the crop is, and
            whether the crop is mirrored: those of a mirrored one are those of its mirror image.
        """
        y, x, flipped = self._spans(height, width, seed, pixel)
        crop_height, crop_width = self.crop_size
        beside = crop_width - x.padding - x.output if flipped else x.padding
        top, bottom = _shares(y, y.padding, crop_height, height)
        left, right = _shares(x, beside, crop_width, width)
        return top, left, bottom, right, flipped

    def _spans(
        self, height: int, width: int, seed: int, pixel: tuple[int, int] | None
    ) -> tuple[Span, Span, bool]:
        # Consecutive seeds give unrelated streams, because torch scrambles the seed.
        draws = torch.rand(4, generator=torch.Generator().manual_seed(seed)).tolist()
        low, high = self.scale_range
        scale = low * (high / low) ** draws[0]
        row, column = pixel if pixel is not None else (None, None)
        y = random_span(height, self.crop_size[0], scale, draws[1], row)
        x = random_span(width, self.crop_size[1], scale, draws[2], column)
        return y, x, self.flip and draws[3] < 0.5


def _shares(span: Span, padding: int, crop: int, length: int) -> tuple[float, float]:
    """First and last point of a crop along one axis, in shares of the image."""
    pixel = span.length / span.output / length
    first = span.start / length - padding * pixel
    return first, first + crop * pixel


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _nearest(length: int, output: int) -> Tensor:
    """The source pixel at the center of each output pixel."""
    places = torch.arange(length, dtype=torch.float32)
    return F.interpolate(places[None, None], output, mode="nearest-exact")[0, 0].long()
