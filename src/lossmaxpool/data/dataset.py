"""The interface of a data set of labelled images."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor
from torch.utils.data import Dataset

from lossmaxpool.data.sample import LabelSet, Sample


class SegmentationDataset(Dataset[Sample], ABC):
    """Labelled images, addressed by number.

    Attributes:
        name: of the data set and its split, for records and messages.
        labels: the classes.
    """

    name: str
    labels: LabelSet

    @abstractmethod
    def __len__(self) -> int:
        """The number of images."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The image and mask of one index; a pure function of it."""

    @abstractmethod
    def mask(self, index: int) -> Tensor:
        """The mask alone, (H, W) uint8, without decoding the image."""

    @abstractmethod
    def sample_name(self, index: int) -> str:
        """The name of one sample, without decoding anything."""
