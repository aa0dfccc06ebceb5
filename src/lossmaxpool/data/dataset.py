"""The interface of a data set of labelled images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from lossmaxpool.data.sample import LabelSet, Sample


@dataclass(frozen=True)
class MaskFile:
    """All that decides a mask, so that what was counted in it once need not be counted again.

    Attributes:
        path: the file.
        ids: the class of each id in the file.
    """

    path: Path
    ids: Mapping[int, int]


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

    def mask_file(self, index: int) -> MaskFile | None:
        """The file that decides the mask of one index; None where there is none."""
        return None
