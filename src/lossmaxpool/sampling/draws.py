"""What fills a slot of a batch: a pure function of the seed, the place in the run and the classes.

Nothing is drawn from a shared random state: the number of workers, the number of ranks and the step
at which a run is resumed do not change a draw.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossmaxpool.sampling.class_index import ClassIndex
from lossmaxpool.sampling.pixels import Pixel, random_pixel
from lossmaxpool.sampling.seeds import below, fraction, mix

# Purposes are negative: an image's number, which is hashed in the same place, never is.
_COIN, _CLASS, _IMAGE = -1, -2, -3


class Draw(NamedTuple):
    """One slot of a batch.

    Attributes:
        image: Number of the image in its data set.
        seed: Decides the augmentation, and the pixel where there is a focus.
        focus: The class of which the crop must contain a pixel; None for a crop anywhere.
    """

    image: int
    seed: int
    focus: int | None = None

    def pixel(self, mask: Tensor) -> Pixel | None:
        """The pixel that the crop must contain, or None.

        Args:
            mask: (H, W) class ids of the drawn image, as the class index has counted them.

        Returns:
            (row, column), uniform over the pixels of the class in focus.

        Raises:
            ValueError: The mask does not hold the class.
        """
        return None if self.focus is None else random_pixel(mask, self.focus, self.seed)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_images: int) -> list[int]:
    generator = torch.Generator().manual_seed(mix(seed, epoch))
    order: list[int] = torch.randperm(num_images, generator=generator).tolist()
    return order


def uniform_draw(seed: int, position: int, num_images: int) -> Draw:
    """An image of a walk through the data set, in a fresh random order every epoch.

    Epochs follow each other without a gap, so that every image is seen once in each even where the
    batch size does not divide their number.

    Args:
        seed: The seed of the run.
        position: The slot, counted over the whole run: step * batch_size + slot.
        num_images: Images in the data set.

    Returns:
        A draw without focus.

    Example:
        >>> sorted(uniform_draw(0, position, 4).image for position in range(4))
        [0, 1, 2, 3]
    """
    epoch, offset = divmod(position, num_images)
    image = _permutation(seed, epoch, num_images)[offset]
    return Draw(image, mix(seed, position, image))


def blended_draw(
    seed: int, position: int, index: ClassIndex, blend: float, cumulative: Sequence[float]
) -> Draw:
    """With probability ``blend`` a class, then an image that holds it; else a uniform draw.

    The coin decides between two draws that do not depend on it: runs that differ in ``blend`` alone
    share what both draw uniformly.

    Args:
        seed: The seed of the run.
        position: The slot, counted over the whole run: step * batch_size + slot.
        index: Which images hold which class.
        blend: Probability of a draw by class, in [0, 1].
        cumulative: C cumulated probabilities of the classes, up to 1.

    Returns:
        A draw, with the class in focus where it was drawn by class.

    References:
        Rota Bulò et al. 2017, Sect. 4, "Complimentary sampling strategy".
    """
    if fraction(seed, position, _COIN) >= blend:
        return uniform_draw(seed, position, index.num_images)
    # The first class whose cumulated probability is above: a class of probability 0 has none.
    focus = bisect_right(cumulative, fraction(seed, position, _CLASS))
    holders = index.images(focus)
    image = int(holders[below(len(holders), seed, position, _IMAGE)])
    return Draw(image, mix(seed, position, image), focus)
