"""Data sets as a DataLoader takes them: transformed, and batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lossmaxpool.data.dataset import SegmentationDataset
from lossmaxpool.data.sample import IGNORE_INDEX
from lossmaxpool.data.transforms import EvalTransform, TrainTransform

Item = dict[str, Tensor]


class Address(Protocol):
    """Which image, the seed of its crop, and the pixel that the crop must contain."""

    @property
    def image(self) -> int: ...
    @property
    def seed(self) -> int: ...
    def pixel(self, mask: Tensor, /) -> tuple[int, int] | None: ...


class AugmentedDataset(Dataset[Item]):
    """Training crops, addressed by draws.

    The seed is part of the address, so that a crop depends neither on the worker nor on the order
    in which crops are drawn.

    Args:
        dataset: the labelled images.
        transform: the augmentation.
    """

    def __init__(self, dataset: SegmentationDataset, transform: TrainTransform) -> None:
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, address: Address) -> Item:
        """``image`` (3, h, w) float32, ``mask`` (h, w) int64 and ``index`` () int64."""
        sample = self.dataset[address.image]
        image, mask = self.transform(sample, address.seed, address.pixel(sample.mask))
        return {"image": image, "mask": mask, "index": torch.tensor(address.image)}


class EvaluationDataset(Dataset[Item]):
    """Whole images, addressed by their index.

    Args:
        dataset: the labelled images.
        transform: the normalisation.
    """

    def __init__(self, dataset: SegmentationDataset, transform: EvalTransform) -> None:
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Item:
        """``image`` (3, H, W) float32, ``mask`` (H, W) int64 and ``index`` () int64."""
        image, mask = self.transform(self.dataset[index])
        return {"image": image, "mask": mask, "index": torch.tensor(index)}


def collate_padded(items: Sequence[Item]) -> Item:
    """A batch of images of several sizes, padded below and to the right.

    Padding is of the mean colour (0 after normalisation) in images and ignored in masks.

    Args:
        items: images (3, H_b, W_b), masks (H_b, W_b) and indices ().

    Returns:
        ``image`` (B, 3, H, W), ``mask`` (B, H, W) and ``index`` (B,), with H and W the largest.
    """
    height = max(item["mask"].shape[0] for item in items)
    width = max(item["mask"].shape[1] for item in items)
    image = torch.zeros(len(items), 3, height, width)
    mask = torch.full((len(items), height, width), IGNORE_INDEX, dtype=torch.int64)
    for b, item in enumerate(items):
        h, w = item["mask"].shape
        image[b, :, :h, :w] = item["image"]
        mask[b, :h, :w] = item["mask"]
    return {"image": image, "mask": mask, "index": torch.stack([item["index"] for item in items])}
