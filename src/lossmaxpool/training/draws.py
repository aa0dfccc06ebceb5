"""Which images make up which batch: a pure function of (seed, step, slot).

Nothing is drawn from a shared random state, so a run that is resumed at step s sees the batches
that it would have seen, whatever the number of workers, and every method that is compared under one
seed sees the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch.utils.data import Sampler

_MASK = (1 << 64) - 1


class Draw(NamedTuple):
    """One slot of a batch: which image, and the seed of its augmentation."""

    image: int
    seed: int


def mix(*values: int) -> int:
    """Hash integers to 63 well-mixed bits (splitmix64): neighbouring steps get unrelated seeds.

    Args:
        values: Any integers; their order matters.

    Returns:
        An integer in [0, 2**63), the range that ``torch.Generator.manual_seed`` takes.

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


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_images: int) -> list[int]:
    generator = torch.Generator().manual_seed(mix(seed, epoch))
    order: list[int] = torch.randperm(num_images, generator=generator).tolist()
    return order


def draw(seed: int, step: int, slot: int, *, batch_size: int, num_images: int) -> Draw:
    """Return what fills one slot of one batch.

    Batches walk through a fresh permutation of the images per epoch, across its end without a gap,
    so that every image is seen once per epoch even where the batch size does not divide their
    number.

    Args:
        seed: The seed of the run.
        step: The optimisation step, from 0.
        slot: The position in the batch, from 0.
        batch_size: Images per step over all devices.
        num_images: Images in the training split.

    Returns:
        The image and the seed of its augmentation.

    Example:
        >>> sorted(draw(0, 0, slot, batch_size=4, num_images=4).image for slot in range(4))
        [0, 1, 2, 3]
    """
    position = step * batch_size + slot
    epoch, offset = divmod(position, num_images)
    image = _permutation(seed, epoch, num_images)[offset]
    return Draw(image, mix(seed, position, image))


class DrawSampler(Sampler[list[Draw]]):
    """Batches of draws for the steps ``start, ..., stop - 1``, of one of ``world_size`` ranks.

    Rank r takes the slots r, r + world_size, ...: the batch of a step is the same set however many
    devices share it.

    Args:
        num_images: Images in the training split.
        batch_size: Images per step over all devices.
        seed: The seed of the run.
        start: The first step.
        stop: The step after the last.
        rank: This process.
        world_size: The number of processes.

    Raises:
        ValueError: No image to draw from, or a batch size that the processes cannot share evenly.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int,
        *,
        start: int,
        stop: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if num_images < 1:
            raise ValueError("the training split has no image: nothing can be drawn from it")
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(
                f"batch_size is {batch_size} over all devices and there are {world_size} of them: "
                "choose a positive multiple of their number"
            )
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.stop = stop
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[list[Draw]]:
        slots = range(self.rank, self.batch_size, self.world_size)
        for step in range(self.start, self.stop):
            yield [
                draw(
                    self.seed,
                    step,
                    slot,
                    batch_size=self.batch_size,
                    num_images=self.num_images,
                )
                for slot in slots
            ]
