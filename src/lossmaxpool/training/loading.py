"""Batches for Lightning: deterministic in training, every image exactly once in validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Subset

from lossmaxpool.data import (
    AugmentedDataset,
    EvalTransform,
    EvaluationDataset,
    SegmentationDataset,
    TrainTransform,
    collate_padded,
)
from lossmaxpool.processes import begin_worker
from lossmaxpool.sampling import Draw, PerformanceSampler
from lossmaxpool.training.config import TrainConfig

RGB = tuple[float, float, float]


class SegmentationData(pl.LightningDataModule):
    """Training crops from the step at which the trainer stands, and whole validation images.

    Args:
        config: The run.
        train: The training split.
        val: The validation split.
        sampler: What fills the training batches.
        mean: Mean of the channels that the network expects, in [0, 1].
        std: Their standard deviation.
    """

    def __init__(
        self,
        config: TrainConfig,
        train: SegmentationDataset,
        val: SegmentationDataset,
        sampler: PerformanceSampler,
        mean: RGB,
        std: RGB,
    ) -> None:
        super().__init__()
        self.config = config
        self.train = train
        self.val = val
        self.sampler = sampler
        optimization = config.optimization
        self.crops = AugmentedDataset(
            train,
            TrainTransform(
                crop_size=optimization.crop_size,
                scale_range=optimization.scale_range,
                flip=optimization.flip,
                mean=mean,
                std=std,
            ),
        )
        self.images = EvaluationDataset(val, EvalTransform(mean=mean, std=std))

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches from the trainer's step to the last one of the run."""
        return DataLoader(self.crops, batch_sampler=_Unsized(self.sampler), **self._options())

    def val_dataloader(self) -> DataLoader[Any]:
        """Return this rank's validation images, one by one: their sizes may differ.

        No image is repeated to even the ranks out: their shares differ by at most one image.
        """
        assert self.trainer is not None
        share = range(self.trainer.global_rank, len(self.val), self.trainer.world_size)
        return DataLoader(
            Subset(self.images, share), batch_size=1, collate_fn=collate_padded, **self._options()
        )

    def _options(self) -> dict[str, Any]:
        workers = self.config.hardware.workers
        return {
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "worker_init_fn": begin_worker,
        }


class _Unsized:
    """The sampler without its length: Lightning then counts steps, and no batches of an epoch."""

    def __init__(self, sampler: PerformanceSampler) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self.sampler)
