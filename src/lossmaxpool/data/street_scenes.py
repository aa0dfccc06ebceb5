"""The embedded data set: street scenes drawn on the fly from a seed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lossmaxpool.data.sample import DataError, LabelSet, Sample, SegmentationDataset, check_choice
from lossmaxpool.scenes import COLORS, NAMES, render

LABELS = LabelSet(NAMES, COLORS)
SPLITS = {"train": 0, "val": 1}


class StreetScenes(SegmentationDataset):
    """Generated street scenes, without a download, with a long-tailed class distribution.

    A scene is a pure function of (seed, split, index).

    Args:
        split: "train" or "val".
        num_images: scenes in the split.
        size: (height, width) in pixels.
        seed: of the whole data set.

    Raises:
        DataError: for an unknown split, a size below 32x48 or no images.
    """

    def __init__(
        self,
        split: str = "train",
        num_images: int = 512,
        size: tuple[int, int] = (128, 192),
        seed: int = 0,
    ) -> None:
        check_choice("split of street-scenes", split, SPLITS)
        if num_images < 1 or seed < 0:
            raise DataError(
                f"Street scenes need num_images >= 1 and seed >= 0, got {num_images} and {seed}."
            )
        if size[0] < 32 or size[1] < 48:
            raise DataError(f"Street scenes need a size of at least 32x48, got {size}.")
        self.name = f"street-scenes/{split}"
        self.labels = LABELS
        self.split = split
        self.size = size
        self.seed = seed
        self._num_images = num_images

    def __len__(self) -> int:
        return self._num_images

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, SPLITS[self.split], self._check(index)])
        image, mask = render(rng, *self.size)
        # Copy with NumPy, in one thread: torch would use all its threads for a 73 KB picture.
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return Sample(pixels, torch.from_numpy(mask), self.sample_name(index))

    def mask(self, index: int) -> Tensor:
        """The mask alone, (H, W) uint8 class ids."""
        return self[index].mask

    def sample_name(self, index: int) -> str:
        """The name of one scene."""
        return f"{self.split}-{self._check(index):05d}"

    def _check(self, index: int) -> int:
        if not 0 <= index < self._num_images:
            raise IndexError(f"Scene {index} of {self._num_images}.")
        return index
