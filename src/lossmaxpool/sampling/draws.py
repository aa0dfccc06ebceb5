"""Draws, which fill the slots of a batch: pure functions of seed, step, slot and probabilities.

Random numbers are hashes of (seed, step, slot, purpose) without shared random state, so they are
the same in any process and in any order. The number of workers, the number of ranks and the step
at which a run is resumed do not change a draw.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossmaxpool.options import Weighting, check_weighting
from lossmaxpool.sampling.class_index import ClassIndex

Pixel = tuple[int, int]
"""(row, column)"""

_MASK = (1 << 64) - 1
_BITS = 63
# Purposes are negative to differ from image indices, which are hashed in the same position.
_COIN, _CLASS, _IMAGE, _PIXEL = -1, -2, -3, -4


def mix(*values: int) -> int:
    """Hash integers to [0, 2**63) (splitmix64): neighboring steps get unrelated seeds.

    Example:
        >>> mix(0, 1) != mix(1, 0)
        True
    """
    state = 0
    for value in values:
        state = (state ^ (value & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


def below(bound: int, *key: int) -> int:
    """Hash a key to an integer in [0, bound), uniform over keys."""
    # Use the high bits of a product instead of a remainder: uniform up to bound / 2**63.
    return mix(*key) * bound >> _BITS


def fraction(*key: int) -> float:
    """Hash a key to a number in [0, 1), uniform over keys."""
    return (mix(*key) >> _BITS - 53) / (1 << 53)  # 53 bits: exact in float64 and below 1


class Draw(NamedTuple):
    """One slot of a batch.

    Attributes:
        image: Index of the image in its data set.
        seed: Determines the augmentation, and the pixel if there is a focus.
        focus: The class of which the crop must contain a pixel; None for a crop anywhere.
    """

    image: int
    seed: int
    focus: int | None = None

    def pixel(self, mask: Tensor) -> Pixel | None:
        """The pixel that the crop must contain, or None.

        Returns:
            (row, column), uniform over the pixels of the class in focus.
        """
        return None if self.focus is None else random_pixel(mask, self.focus, self.seed)


def random_pixel(mask: Tensor, class_id: int, seed: int) -> Pixel:
    """A pixel of a class, uniform over all of them; a pure function of its arguments.

    Args:
        mask: (H, W) class ids.
        class_id: The class.
        seed: Determines the pixel.

    Returns:
        (row, column).

    Raises:
        ValueError: The mask does not contain the class.

    Example:
        >>> random_pixel(torch.tensor([[0, 0], [0, 1]]), class_id=1, seed=0)
        (1, 1)
    """
    flat = (mask == class_id).flatten().nonzero().flatten()
    if flat.numel() == 0:
        raise ValueError(
            f"the mask of a drawn image has no pixel of class {class_id}, which the class index "
            "promised: build the index of the data set that is drawn from, with the masks as they "
            "are before any augmentation"
        )
    row, column = divmod(int(flat[below(flat.numel(), seed, _PIXEL)]), mask.shape[1])
    return row, column


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_images: int) -> list[int]:
    generator = torch.Generator().manual_seed(mix(seed, epoch))
    order: list[int] = torch.randperm(num_images, generator=generator).tolist()
    return order


def uniform_draw(seed: int, position: int, num_images: int) -> Draw:
    """Draw from consecutive passes through the data set, each in a new random order.

    The passes are contiguous, so each shows every image once even if the batch size does not divide
    their number.

    Args:
        position: The slot, counted over the whole run: step * batch_size + slot.

    Example:
        >>> sorted(uniform_draw(0, position, 4).image for position in range(4))
        [0, 1, 2, 3]
    """
    walk, offset = divmod(position, num_images)
    image = _permutation(seed, walk, num_images)[offset]
    return Draw(image, mix(seed, position, image))


def blended_draw(
    seed: int, position: int, index: ClassIndex, blend: float, cumulative: Sequence[float]
) -> Draw:
    """Draw a class and an image that contains it with probability ``blend``, else uniformly.

    Both alternatives are independent of this choice, so runs that differ only in ``blend`` share
    the draws that are uniform in both.

    Args:
        blend: Probability of a draw by class, in [0, 1].
        cumulative: C cumulative class probabilities, up to 1.

    References:
        Rota Bulò et al. 2017, Sect. 4, "Complimentary sampling strategy".
    """
    if fraction(seed, position, _COIN) >= blend:
        return uniform_draw(seed, position, index.num_images)
    # The first class with a larger cumulative probability; never a class of probability 0.
    focus = bisect_right(cumulative, fraction(seed, position, _CLASS))
    holders = index.images(focus)
    image = int(holders[below(len(holders), seed, position, _IMAGE)])
    return Draw(image, mix(seed, position, image), focus)


def class_probabilities(
    iou: Tensor,
    present: Tensor,
    *,
    weighting: Weighting = "inverse",
    floor: float = 0.05,
    temperature: float = 1.0,
) -> Tensor:
    r"""The probability of drawing each class, decreasing in its IoU.

    .. math:: \pi_c \propto s_c^{1/T}, \qquad s_c = \frac{1}{\max(\mathrm{IoU}_c, f)}
        \quad\text{or}\quad s_c = \max(1 - \mathrm{IoU}_c, f)

    with floor *f* and temperature *T*. A class without pixels in the data has probability 0. An
    undefined IoU, of a class that was neither in a crop nor predicted yet, counts as 0, so that the
    class is drawn until its IoU is defined. If all are undefined, all classes in the data are
    equally likely.

    Args:
        iou: (C,) in [0, 1], NaN where undefined.
        present: (C,) bool, the classes with pixels in the data.
        weighting: "inverse" is 1 / IoU, "complement" is 1 - IoU. Rota Bulò et al. 2017 do not say
            which they use: "inverse" is an assumption.
        floor: In (0, 1]. Lower bound of the IoU for "inverse", so that no class is drawn more than
            1 / floor times as often as one of IoU 1; lower bound of the weight for "complement", so
            that every class is drawn. An assumption.
        temperature: Above 0. 1 is the plain weighting; larger values make the classes more equally
            likely (uniform at inf), smaller values favor the classes with the lowest IoU.

    Returns:
        (C,) float64, of sum 1.

    Raises:
        ValueError: A parameter or an IoU is outside its range, or no class has pixels.

    Example:
        >>> iou, present = torch.tensor([0.9, 0.3]), torch.tensor([True, True])
        >>> [round(p, 2) for p in class_probabilities(iou, present).tolist()]
        [0.25, 0.75]

    References:
        Rota Bulò et al. 2017, Sect. 4, "Complimentary sampling strategy".
    """
    check_weighting(weighting, floor, temperature)
    check_iou(iou, len(present))
    if not bool(present.any()):
        raise ValueError("no class has a pixel in the data: there is nothing to draw by class")
    known = iou.to("cpu", torch.float64).nan_to_num(nan=0.0)
    score = 1 / known.clamp(min=floor) if weighting == "inverse" else (1 - known).clamp(min=floor)
    # Divide by the largest first: the large power of a low temperature would overflow.
    score = (score / score[present].max()) ** (1 / temperature)
    score = torch.where(present, score, 0.0)
    return score / score.sum()


def check_iou(iou: Tensor, num_classes: int) -> None:
    """Raise unless there is one IoU per class."""
    if iou.shape != (num_classes,) or not iou.is_floating_point():
        raise ValueError(
            f"iou has shape {tuple(iou.shape)} and dtype {iou.dtype}; expected one floating-point "
            f"value for each of {num_classes} classes"
        )
    wrong = iou[(iou < 0) | (iou > 1)]
    if wrong.numel():
        raise ValueError(f"iou has values outside [0, 1], such as {float(wrong[0])}")
