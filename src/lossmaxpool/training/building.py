"""The parts of a run from its configuration: data, network, criterion, sampler, empty record."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lossmaxpool.data import (
    DataConfig,
    LabelSet,
    SegmentationDataset,
    StreetScenes,
    check_before_training,
    open_dataset,
)
from lossmaxpool.data.open import find_function
from lossmaxpool.data.sample import check_first_sample, check_is
from lossmaxpool.import_paths import reason_of
from lossmaxpool.models import (
    ModelConfig,
    ModelDescription,
    build_model,
    input_stride,
    normalization,
    parameter_groups,
)
from lossmaxpool.models.outside import OutsideNetwork, find_outside
from lossmaxpool.options import GIVEN
from lossmaxpool.runs import TrainingError
from lossmaxpool.runs.config import TrainConfig
from lossmaxpool.runs.record import DataSummary, RunRecord
from lossmaxpool.sampling import ClassIndex, PerformanceSampler, RunningIoU
from lossmaxpool.sampling.draws import mix
from lossmaxpool.training.criteria import build_criterion
from lossmaxpool.training.hardware import check_loggers
from lossmaxpool.training.imported import check_imported
from lossmaxpool.training.loading import CachedDataset, count_pixels


@dataclass(frozen=True)
class Given:
    """Objects given from Python, used in place of those that the configuration names.

    Args:
        model: The network, (B, 3, H, W) -> (B, C, h, w); each run trains a copy.
    """

    train_set: SegmentationDataset | None = None
    val_set: SegmentationDataset | None = None
    model: nn.Module | None = None

    def __post_init__(self) -> None:
        sets = [each for each in (self.train_set, self.val_set) if each is not None]
        if len(sets) == 1:
            raise TypeError("train_set and val_set go together: one of them is missing")
        for each in sets:
            check_is(each, SegmentationDataset)
        if not isinstance(self.model, nn.Module | None):
            raise TypeError(
                f"expected a torch.nn.Module as the model, got a {type(self.model).__name__}"
            )

    def named_in(self, config: TrainConfig) -> TrainConfig:
        """Return a configuration that says which parts came from Python.

        Raises:
            ValueError: It names a data set or a network as well.
        """
        if self.train_set is not None:
            if config.data not in (DataConfig(), DataConfig(name="python")):
                raise ValueError(
                    f"the configuration names the data set {config.data.name!r}, and train_set and "
                    "val_set are given as well: leave out one of them"
                )
            config = replace(config, data=DataConfig(name="python"))
        if self.model is not None:
            named = config.model.module or config.model.architecture
            if named not in (GIVEN, ModelConfig.architecture):
                raise ValueError(
                    f"the configuration names the network {named!r}, and a model is given as well: "
                    "leave out one of them"
                )
            if config.model == ModelConfig():
                config = replace(config, model=ModelConfig(GIVEN))
            elif config.model.architecture != GIVEN:
                raise ValueError(
                    f'options of the network beside a model need model=ModelConfig("{GIVEN}", ...)'
                )
        return config


def check_named(config: TrainConfig, given: Given) -> None:
    """Refuse loggers and import paths that cannot be right, before data or weights are read.

    Raises:
        TrainingError: A logger is not installed.
        DataError, ValueError: The criterion, the network or a data set cannot be imported, or does
            not take its arguments.
    """
    check_loggers(config.reporting.loggers)
    check_imported(config.chosen.criterion)
    if config.model.module is not None:
        find_outside(config.model)
    if config.data.name == "python" and given.train_set is None:
        for split in (config.data.train_split, config.data.val_split):
            find_function(config.data, split)


def check_all(configs: Sequence[TrainConfig], given: Given) -> None:
    """Refuse what any of several runs would refuse before its first step, so that none begins.

    Raises:
        TrainingError: A logger is not installed.
        DataError, ValueError: The data cannot be opened, or a method cannot be right.
    """
    by_method = {config.method: config for config in configs}.values()
    for config in by_method:
        check_named(config, given)
    train_set, _ = open_splits(configs[0], given)
    for config in by_method:
        try_criterion(config, train_set.labels.num_classes)


def open_splits(
    config: TrainConfig, given: Given
) -> tuple[SegmentationDataset, SegmentationDataset]:
    """Return the run's training and validation data, kept in memory if it says so.

    Raises:
        TrainingError: The two splits have other classes.
        DataError: One cannot be opened, or one from Python has samples of another form.
    """
    train_set, val_set = given.train_set, given.val_set
    if train_set is None or val_set is None:
        train_set = open_dataset(config.data, config.data.train_split)
        val_set = open_dataset(config.data, config.data.val_split)
    if config.data.name == "python":
        check_first_sample(train_set)
        check_first_sample(val_set)
    ours, theirs = train_set.labels.names, val_set.labels.names
    if ours != theirs:
        raise TrainingError(
            f"{train_set.name} has the {len(ours)} classes {', '.join(ours)}, and "
            f"{val_set.name} the {len(theirs)} classes {', '.join(theirs)}: expected the same"
        )
    if config.hardware.cache:
        return _kept(train_set), _kept(val_set)
    return train_set, val_set


def _kept(dataset: SegmentationDataset) -> CachedDataset:
    if isinstance(dataset, StreetScenes):
        return _drawn(dataset.split, len(dataset), dataset.size, dataset.seed)
    return CachedDataset(dataset)


@lru_cache(maxsize=2)
def _drawn(split: str, num_images: int, size: tuple[int, int], seed: int) -> CachedDataset:
    """Scenes that all runs of a process share: drawing them takes a quarter of a short run."""
    return CachedDataset(StreetScenes(split, num_images, size, seed))


def count_split(config: TrainConfig, dataset: SegmentationDataset) -> Tensor:
    """Return the labeled pixels of a split per image and class, (num_images, C) int64.

    Raises:
        DataError: The counts show masks that were saved in two ways, which would spoil the run.
    """
    pixels = count_pixels(dataset, beside=config.data.root, workers=config.hardware.workers)
    check_before_training(
        dataset.dataset if isinstance(dataset, CachedDataset) else dataset, pixels
    )
    return pixels


def new_network(
    config: TrainConfig, num_classes: int, *, pretrained: bool, given: nn.Module | None = None
) -> nn.Module:
    """Return the network of a run, with weights that the seed alone decides.

    Args:
        pretrained: Whether to fetch the encoder's weights.
        given: A network from Python, whose weights are its own; it is copied.

    Raises:
        TrainingError: A network from elsewhere returns another number of classes.
    """
    torch.manual_seed(mix(config.seed, 0))
    if given is None:
        network = config.model if pretrained else replace(config.model, weights="none")
        model = build_model(network, num_classes)
    else:
        model = OutsideNetwork(deepcopy(given), config.model.stride)
    if isinstance(model, OutsideNetwork):
        _check_classes(model, config, num_classes)
    if config.hardware.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model


def _check_classes(model: OutsideNetwork, config: TrainConfig, num_classes: int) -> None:
    blank = _blank_crop(config, model.stride)
    H, W = blank.shape[-2:]
    training = model.training
    name = type(model.network).__name__
    try:
        with torch.no_grad():
            logits = model.eval()(blank)
    except Exception as error:  # whatever the network raises
        if type(error) is ValueError and str(error).startswith(f"{name} "):
            raise
        raise TrainingError(
            f"{name} cannot be called with images (1, 3, {H}, {W}): {reason_of(error)}; it has to "
            "take three channels, and sizes that are multiples of model.stride, now "
            f"{model.stride}"
        ) from error
    model.train(training)
    if logits.shape[1] != num_classes:
        raise TrainingError(
            f"{name} returns {logits.shape[1]} classes, and the data set "
            f"has {num_classes}: build it with {num_classes}"
        )
    if logits.shape[2] > H or logits.shape[3] > W:
        raise TrainingError(
            f"{name} returns logits of {tuple(logits.shape[2:])} for a "
            f"crop of {(H, W)}: expected the same size, or a smaller one"
        )


def _blank_crop(config: TrainConfig, stride: int) -> Tensor:
    H, W = (size + -size % stride for size in config.optimization.crop_size)
    return torch.zeros(1, 3, H, W)


def describe_network(config: TrainConfig, labels: LabelSet) -> ModelDescription:
    """Return the network in plain values, as its checkpoints hold it."""
    mean, std = normalization(config.model)
    return ModelDescription(config.model, labels.names, labels.colors, mean, std)


def try_criterion(config: TrainConfig, num_classes: int) -> None:
    """Build the criterion of the run's method once, before the pixels of its classes are counted.

    Raises:
        ValueError: One by import path does not do what a criterion has to.
    """
    pixels = torch.ones(1, num_classes, dtype=torch.int64)
    build_criterion(config.chosen.criterion, config.loss, pixels)


def build_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Return the descent; each group of parameters remembers its base rate as ``initial_lr``."""
    optimization = config.optimization
    groups = parameter_groups(
        model,
        optimization.lr,
        optimization.weight_decay,
        head_multiplier=optimization.head_lr_multiplier,
        head_bias_multiplier=optimization.head_bias_lr_multiplier,
    )
    optimizer: torch.optim.Optimizer
    if optimization.optimizer == "adamw":
        betas = (optimization.momentum, 0.999)
        optimizer = torch.optim.AdamW(groups, lr=optimization.lr, betas=betas)
    else:
        optimizer = torch.optim.SGD(groups, lr=optimization.lr, momentum=optimization.momentum)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def new_average(config: TrainConfig, model: nn.Module) -> AveragedModel | None:
    """Return the moving average of the weights and batch statistics; None where there is none.

    In the first steps it forgets faster, so that random weights are not remembered for long.
    """
    decay = config.optimization.ema
    if not decay:
        return None

    def average(mean: Tensor, new: Tensor, number: Tensor | int) -> Tensor:
        if not mean.is_floating_point():
            return new
        done = torch.as_tensor(number, dtype=mean.dtype, device=mean.device)
        return torch.lerp(new, mean, ((1 + done) / (10 + done)).clamp(max=decay))

    averaged = AveragedModel(model, avg_fn=average, use_buffers=True)
    averaged.requires_grad_(False)
    return averaged


def build_sampler(
    config: TrainConfig, train_set: SegmentationDataset, train_pixels: Tensor
) -> PerformanceSampler:
    """Return what fills the batches; it draws uniformly where the method does not sample by class.

    A step of the sampler is a part of a batch, if batches have several: the parts share the slots
    of the batch, so that uniform draws do not depend on their number.

    Args:
        train_pixels: Its labeled pixels per image and class, (num_images, C) int64.
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


def new_running_iou(config: TrainConfig, num_classes: int) -> RunningIoU:
    """Return the IoU on the training crops of a run that has not begun."""
    half_life = config.sampling.half_life * config.optimization.accumulate
    return RunningIoU(num_classes, half_life=half_life)


def check_crops(model: nn.Module, config: TrainConfig, world_size: int) -> None:
    """Refuse single crops that a batch norm of the network cannot be trained on.

    Statistics of one crop exist wherever its feature map has several pixels; the pooled branch of
    an ASPP module, for one, has a single pixel per crop. A forward pass shows whether they do.

    Args:
        model: The network on the CPU; left as it was.
        world_size: Processes that share a batch.

    Raises:
        TrainingError: A batch norm would see one value per channel.
    """
    optimization = config.optimization
    if optimization.batch_size // optimization.accumulate // world_size > 1:
        return
    probe = deepcopy(model).train()
    try:
        with torch.no_grad():
            probe(_blank_crop(config, input_stride(model)))
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
    """Return the record of a run that has not begun."""
    return RunRecord(
        # Until it has finished, a run counts as interrupted: a kill leaves no time to say so.
        status="interrupted",
        method=config.method,
        label=config.chosen.label,
        seed=config.seed,
        data=DataSummary(
            # Its own name says more than the word for every object from Python.
            name=train_set.name if config.data.name == "python" else str(config.data.name),
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
