"""From a configuration to the data sets, the network and an empty record."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from lossmaxpool.data import SegmentationDataset, open_dataset
from lossmaxpool.data.inspection import class_statistics
from lossmaxpool.models import ModelDescription, build_model, input_stride, normalization
from lossmaxpool.training.caching import CachedDataset
from lossmaxpool.training.config import TrainConfig
from lossmaxpool.training.draws import mix
from lossmaxpool.training.errors import TrainingError
from lossmaxpool.training.methods import METHODS
from lossmaxpool.training.module import SegmentationModule
from lossmaxpool.training.record import RunRecord


def open_split(config: TrainConfig, split: str) -> SegmentationDataset:
    """Return a split of the run's data, kept in memory if the configuration says so."""
    dataset = open_dataset(config.data, split)
    return CachedDataset(dataset) if config.hardware.cache else dataset


def count_pixels(dataset: SegmentationDataset) -> Tensor:
    """Return the labelled pixels per image and class, (num_images, C) int64.

    Raises:
        TrainingError: There is none.
    """
    pixels = class_statistics(dataset).pixels
    if not pixels.any():
        raise TrainingError(
            f"{dataset.name} has no labelled pixel: every one of its {len(dataset)} masks is "
            "ignored; look at them with lossmaxpool inspect"
        )
    return pixels


def build_module(
    config: TrainConfig, train_set: SegmentationDataset, train_pixels: Tensor, *, pretrained: bool
) -> SegmentationModule:
    """Return the network with its criterion, from weights that the seed alone decides.

    Args:
        config: The run.
        train_set: The training split.
        train_pixels: Its labelled pixels per image and class, (num_images, C) int64.
        pretrained: Whether to fetch the encoder's weights; a checkpoint brings its own.

    Raises:
        TrainingError: The crops do not fit the network.
    """
    labels = train_set.labels
    torch.manual_seed(mix(config.seed, 0))
    network = config.model if pretrained else replace(config.model, weights="none")
    model: nn.Module = build_model(network, labels.num_classes)
    _check_crop(config.optimisation.crop_size, input_stride(model))
    if config.hardware.channels_last:
        model = model.to(memory_format=torch.channels_last)
    mean, std = normalization(config.model)
    return SegmentationModule(
        config,
        model,
        METHODS[config.method].build(config.loss, train_pixels),
        ModelDescription(config.model, labels.names, labels.colors, mean, std),
        train_set.sample_name,
    )


def new_record(
    config: TrainConfig,
    train_set: SegmentationDataset,
    val_set: SegmentationDataset,
    train_pixels: Tensor,
) -> RunRecord:
    """Return the record of a run that has not begun.

    Args:
        config: The run.
        train_set: The training split.
        val_set: The validation split.
        train_pixels: Labelled training pixels per image and class, (num_images, C) int64.
    """
    return RunRecord(
        # Until it has finished, a run is an interrupted one: a kill leaves no time to say so.
        status="interrupted",
        method=config.method,
        label=METHODS[config.method].label,
        seed=config.seed,
        data={
            "name": config.data.name,
            "train_split": config.data.train_split,
            "val_split": config.data.val_split,
            "train_images": len(train_set),
            "val_images": len(val_set),
        },
        classes=list(train_set.labels.names),
        colors=[list(color) for color in train_set.labels.colors],
        train_pixels=train_pixels.sum(dim=0).tolist(),
        val_pixels=count_pixels(val_set).sum(dim=0).tolist(),
        config=config.to_dict(),
        environment={},
    )


def _check_crop(crop_size: tuple[int, int], stride: int) -> None:
    if any(side % stride for side in crop_size):
        raise TrainingError(
            f"optimisation.crop_size is {crop_size[0]} x {crop_size[1]}: this network needs "
            f"multiples of {stride}"
        )
