"""Samples that are read or drawn once and kept."""

from __future__ import annotations

from torch import Tensor

from lossmaxpool.data import Sample, SegmentationDataset


class CachedDataset(SegmentationDataset):
    """A data set that keeps every sample in memory from its first use on.

    Counting the pixels of the classes, before any worker is forked, fills it: the workers share
    the memory. Its masks are therefore counted in every run, as if no file backed them.

    Args:
        dataset: The data set to keep.
    """

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset
        self.name = dataset.name
        self.labels = dataset.labels
        self._samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._samples:
            self._samples[index] = self.dataset[index]
        return self._samples[index]

    def mask(self, index: int) -> Tensor:
        return self[index].mask

    def sample_name(self, index: int) -> str:
        return self.dataset.sample_name(index)
