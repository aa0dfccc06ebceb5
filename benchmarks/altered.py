"""Data sets that a study changes: smaller images, folds, wrong labels planted in masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool.data import IGNORE_INDEX, Sample, SegmentationDataset


class Joined(SegmentationDataset):
    """Several splits of one data set, one after another.

    Args:
        parts: The splits, of the same classes.
        name: Of the whole.
    """

    def __init__(self, parts: Sequence[SegmentationDataset], name: str) -> None:
        self.name, self.labels = name, parts[0].labels
        self._at = [(part, index) for part in parts for index in range(len(part))]

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, index: int) -> Sample:
        part, own = self._at[index]
        return part[own]

    def mask(self, index: int) -> Tensor:
        part, own = self._at[index]
        return part.mask(own)

    def sample_name(self, index: int) -> str:
        part, own = self._at[index]
        return part.sample_name(own)


class Altered(SegmentationDataset):
    """A data set with smaller images, and with wrong labels in a share of its pixels.

    The labels are wrong in regions: where a class meets a square cell of the image, all its pixels
    become another class that the data set has, with the probability of the share. A mask is a
    function of (seed, index).

    Args:
        dataset: The data set.
        shrink: Height and width are divided by this number; masks take the nearest label.
        wrong: Expected share of the labeled pixels with a wrong label, in [0, 1).
        cell: Side of a cell, in pixels of the smaller image.
        seed: Of the wrong labels.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        shrink: int = 1,
        wrong: float = 0.0,
        cell: int = 16,
        seed: int = 0,
    ) -> None:
        self.dataset, self.labels, self.name = dataset, dataset.labels, dataset.name
        self.shrink, self.wrong, self.cell, self.seed = shrink, wrong, cell, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        image, mask = sample.image, sample.mask
        if self.shrink > 1:
            size = self._size(mask)
            whole = image[None].float()
            small = F.interpolate(whole, size=size, mode="bilinear", antialias=True)[0]
            image = small.round().clamp(0, 255).to(torch.uint8)
        return Sample(image, self._altered(mask, index), sample.name)

    def mask(self, index: int) -> Tensor:
        return self._altered(self.dataset.mask(index), index)

    def sample_name(self, index: int) -> str:
        return self.dataset.sample_name(index)

    def _size(self, mask: Tensor) -> tuple[int, int]:
        return max(1, mask.shape[0] // self.shrink), max(1, mask.shape[1] // self.shrink)

    def _altered(self, mask: Tensor, index: int) -> Tensor:
        if self.shrink > 1:
            small = F.interpolate(mask[None, None].float(), self._size(mask), mode="nearest-exact")
            mask = small[0, 0].to(torch.uint8)
        if self.wrong == 0:
            return mask
        ids, C = mask.numpy(), self.labels.num_classes
        rows, columns = (np.arange(length) // self.cell for length in ids.shape)
        cells = rows[:, None] * (columns[-1] + 1) + columns[None, :]
        rng = np.random.default_rng([self.seed, index])
        shape = (int(cells.max()) + 1, C)
        # A shift of 1 to C - 1 classes is never the class itself.
        shift = rng.integers(1, C, shape) * (rng.random(shape) < self.wrong)
        labeled = ids != IGNORE_INDEX
        known = np.where(labeled, ids, 0)
        changed = (known + shift[cells, known]) % C
        return torch.from_numpy(np.where(labeled, changed, ids).astype(np.uint8))


def folds(names: Sequence[str], count: int) -> list[list[int]]:
    """Return the indices that each of several folds holds out.

    Names as ``<kind>_exp<exposure>_num_<object>`` are dealt out by object, each kind over all
    folds, so that no object is in two of them; other names in blocks of neighbors, as pictures
    taken one after another resemble each other.

    Args:
        names: The names of all images.
        count: How many folds.
    """
    found: list[list[int]] = [[] for _ in range(count)]
    if not all("_num_" in name for name in names):
        order = sorted(range(len(names)), key=lambda index: names[index])
        for place, index in enumerate(order):
            found[place * count // len(order)].append(index)
        return found
    groups: dict[str, list[int]] = {}
    kinds: dict[str, set[str]] = {}
    for index, name in enumerate(names):
        kind, number = name.split("_exp")[0], name.split("_num_")[1]
        groups.setdefault(number, []).append(index)
        kinds.setdefault(number, set()).add(kind)
    order_of_groups = sorted(groups, key=lambda number: (sorted(kinds[number]), number))
    for place, number in enumerate(order_of_groups):
        found[place % count] += groups[number]
    return [sorted(indices) for indices in found]
