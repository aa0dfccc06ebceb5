"""From a configuration to the data sets, the network and an empty record."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from lossmaxpool.data import SegmentationDataset, check_before_training, open_dataset
from lossmaxpool.models import ModelDescription, build_model, normalization
from lossmaxpool.runs.record import DataSummary, RunRecord
from lossmaxpool.sampling import ClassIndex, PerformanceSampler
from lossmaxpool.sampling.draws import mix
from lossmaxpool.training.caching import CachedDataset
from lossmaxpool.training.config import TrainConfig
from lossmaxpool.training.counting import count_pixels
from lossmaxpool.training.errors import TrainingError
from lossmaxpool.training.methods import METHODS
from lossmaxpool.training.module import SegmentationModule, pad_to_stride


def open_split(config: TrainConfig, split: str) -> SegmentationDataset:
    """Return a split of the run's data, kept in memory if the configuration says so."""
    dataset = open_dataset(config.data, split)
    return CachedDataset(dataset) if config.hardware.cache else dataset


def count_split(config: TrainConfig, dataset: SegmentationDataset) -> Tensor:
    """Return the labelled pixels of a split per image and class, (num_images, C) int64."""
    pixels = count_pixels(dataset, beside=config.data.root, workers=config.hardware.workers)
    check_before_training(
        dataset.dataset if isinstance(dataset, CachedDataset) else dataset, pixels
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
    """
    labels = train_set.labels
    torch.manual_seed(mix(config.seed, 0))
    network = config.model if pretrained else replace(config.model, weights="none")
    model: nn.Module = build_model(network, labels.num_classes)
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


def build_sampler(
    config: TrainConfig, train_set: SegmentationDataset, train_pixels: Tensor
) -> PerformanceSampler:
    """Return what fills the batches; it draws uniformly where the method does not sample by class.

    What a step is to the sampler is a part of a batch, if batches have several: the parts share the
    slots of the batch, so that uniform draws do not depend on their number.

    Args:
        config: The run.
        train_set: The training split.
        train_pixels: Its labelled pixels per image and class, (num_images, C) int64.
    """
    sampling, optimization = config.sampling, config.optimization
    parts = optimization.accumulate
    return PerformanceSampler(
        ClassIndex(train_pixels),
        optimization.batch_size // parts,
        config.seed,
        blend=sampling.blend if config.draws_by_class else 0.0,
        weighting=sampling.weighting,
        floor=sampling.floor,
        temperature=sampling.temperature,
        update_interval=sampling.update_interval * parts,
        steps=optimization.steps * parts,
        class_names=train_set.labels.names,
    )


def check_crops(module: SegmentationModule, config: TrainConfig, world_size: int) -> None:
    """Refuse single crops that a batch norm of the network cannot be trained on.

    Statistics of one crop exist wherever its feature map has several pixels; the pooled branch of
    an ASPP module, for one, has a single pixel per crop. The network itself shows whether it does.

    Args:
        module: The network on any device, in any mode; left as it was.
        config: The run.
        world_size: Processes that share a batch.

    Raises:
        TrainingError: A batch norm would see one value per channel.
    """
    optimization = config.optimization
    if optimization.batch_size // optimization.accumulate // world_size > 1:
        return
    H, W = optimization.crop_size
    images, masks = torch.zeros(1, 3, H, W), torch.zeros(1, H, W, dtype=torch.int64)
    probe = deepcopy(module.model).train()
    try:
        with torch.no_grad():
            probe(pad_to_stride(images, masks, module.stride)[0])
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise TrainingError(
            "a batch norm of the network needs more than one crop at a time: "
            f"optimization.batch_size {optimization.batch_size} in optimization.accumulate "
            f"{optimization.accumulate} parts on {world_size} devices leaves one; raise "
            "batch_size, lower accumulate or take fewer devices to leave two"
        ) from error


def new_record(
    config: TrainConfig,
    train_set: SegmentationDataset,
    val_set: SegmentationDataset,
    train_pixels: Tensor,
    val_pixels: Tensor,
) -> RunRecord:
    """Return the record of a run that has not begun.

    Args:
        config: The run.
        train_set: The training split.
        val_set: The validation split.
        train_pixels: Labelled training pixels per image and class, (num_images, C) int64.
        val_pixels: Those of the validation split.
    """
    return RunRecord(
        # Until it has finished, a run is an interrupted one: a kill leaves no time to say so.
        status="interrupted",
        method=config.method,
        label=METHODS[config.method].label,
        seed=config.seed,
        data=DataSummary(
            name=str(config.data.name),
            train_split=config.data.train_split,
            val_split=config.data.val_split,
            train_images=len(train_set),
            val_images=len(val_set),
        ),
        classes=list(train_set.labels.names),
        colors=list(train_set.labels.colors),
        train_pixels=train_pixels.sum(dim=0).tolist(),
        val_pixels=val_pixels.sum(dim=0).tolist(),
        config=config.to_dict(),
        environment={},
    )
