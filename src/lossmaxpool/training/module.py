"""One training step, one evaluation: the part that Lightning drives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.metrics import ConfusionMatrix
from lossmaxpool.models import (
    ModelDescription,
    full_size_ids,
    full_size_logits,
    input_stride,
    parameter_groups,
)
from lossmaxpool.models.full_size import SmallLogits, decide
from lossmaxpool.sampling.draws import mix
from lossmaxpool.training.config import OptimizationConfig, TrainConfig
from lossmaxpool.training.criteria import MeanCrossEntropyLoss
from lossmaxpool.training.errors import NonFiniteLossError, TrainingError
from lossmaxpool.training.folder import check_same_configuration

# The name of the configuration in a checkpoint.
CONFIGURATION = "lossmaxpool_configuration"


class SegmentationModule(pl.LightningModule):
    """A network, the criterion that trains it, and the confusion matrix that judges it.

    Args:
        config: The run.
        model: Images (B, 3, H, W) to logits (B, C, h, w).
        criterion: Logits and target (B, H, W) to the loss, a scalar.
        description: The network in plain values, for whoever opens a checkpoint.
        sample_name: The name of a training image by its index, for messages.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        criterion: nn.Module,
        description: ModelDescription,
        sample_name: Callable[[int], str],
    ) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self.criterion = criterion
        self.cross_entropy = MeanCrossEntropyLoss()
        self.description = description
        self.sample_name = sample_name
        self.stride = input_stride(model)
        self.confusion = ConfusionMatrix(len(description.classes))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the network without the run folder, and whose state this is."""
        checkpoint[ModelDescription.KEY] = self.description.as_dict()
        checkpoint[CONFIGURATION] = self.config.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the state of another run.

        Raises:
            TrainingError: The classes of the checkpoint are not those of the data set, or it was
                saved under another configuration.
        """
        trained = ModelDescription.from_dict(checkpoint[ModelDescription.KEY]).classes
        if trained != self.description.classes:
            raise TrainingError(
                f"the checkpoint was trained on the {len(trained)} classes {', '.join(trained)}; "
                f"the data set has the {len(self.description.classes)} classes "
                f"{', '.join(self.description.classes)}: resume with the data that the run began "
                "with, or train into a new folder"
            )
        if CONFIGURATION not in checkpoint:
            raise TrainingError(
                "the checkpoint does not say of which run it is: it was saved by another version "
                "of lossmaxpool; train into a new folder"
            )
        check_same_configuration(
            self.config, checkpoint[CONFIGURATION], "the checkpoint is that of a run"
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, C, h, w) of normalised images (B, 3, H, W)."""
        if self.config.hardware.channels_last:
            images = images.to(memory_format=torch.channels_last)
        logits: Tensor = self.model(images)
        return logits

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Seed dropout from the step: no random state has to survive in a checkpoint."""
        part = batch_idx % self.config.optimization.accumulate
        torch.manual_seed(mix(self.config.seed, self.global_step, self.global_rank, 1 + part))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the loss, and what its followers need.

        That is the plain cross-entropy where the curve has an entry, and the predicted ids of the
        crops (B, H, W) where the next ones depend on them.

        Raises:
            NonFiniteLossError: The loss is NaN or infinite.
        """
        images, masks = pad_to_stride(batch["image"], batch["mask"], self.stride)
        logits = self(images)
        loss = self.criterion(logits, masks)
        if not torch.isfinite(loss):
            names = (self.sample_name(index) for index in batch["index"].tolist())
            raise NonFiniteLossError(
                f"the loss is {loss.item()} at step {self.global_step}, on the images "
                f"{', '.join(names)}: lower optimization.lr, add optimization.warmup, "
                "or look at these images"
            )
        output = {"loss": loss}
        if (self.global_step + 1) % self.config.reporting.log_every == 0 or self.global_step == 0:
            output["cross_entropy"] = self.cross_entropy(logits.detach(), masks)
        if self.config.draws_by_class:
            output["prediction"] = _predicted_ids(logits.detach(), masks, batch["mask"])
        return output

    def on_validation_epoch_start(self) -> None:
        self.confusion = ConfusionMatrix(len(self.description.classes), self.device)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add one image to the confusion matrix."""
        ids = full_size_ids(self, batch["image"], self.stride)
        self.confusion.update(ids, batch["mask"])

    def on_validation_epoch_end(self) -> None:
        """Add up the ranks: each has seen its own images."""
        self.confusion = self.confusion.reduce()

    def full_size_logits(self, images: Tensor) -> Tensor:
        """Return logits (B, C, H, W), float32, of images (B, 3, H, W) of any size."""
        return full_size_logits(self, images, self.stride)

    def configure_optimizers(self) -> Any:
        """Return the descent and its rate, a function of the step."""
        optimization = self.config.optimization
        optimizer = torch.optim.SGD(
            parameter_groups(
                self.model,
                optimization.lr,
                optimization.weight_decay,
                head_multiplier=optimization.head_lr_multiplier,
                head_bias_multiplier=optimization.head_bias_lr_multiplier,
            ),
            lr=optimization.lr,
            momentum=optimization.momentum,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(step, optimization)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def pad_to_stride(images: Tensor, masks: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Pad crops to the right and below to the next multiple of a network's stride.

    What is added is of the mean colour, 0, and ignored: no loss sees it.

    Args:
        images: (B, 3, H, W), normalised.
        masks: (B, H, W).
        stride: Of the network.

    Returns:
        Both, at the padded size.

    Example:
        >>> images, masks = torch.ones(1, 3, 321, 321), torch.zeros(1, 321, 321)
        >>> pad_to_stride(images, masks, 8)[1].shape
        torch.Size([1, 328, 328])
    """
    H, W = masks.shape[-2:]
    missing = (0, -W % stride, 0, -H % stride)
    return F.pad(images, missing), F.pad(masks, missing, value=IGNORE_INDEX)


def rate_factor(step: int, optimization: OptimizationConfig) -> float:
    """Return the share of the base learning rate at a step: warm-up times poly decay.

    ``min(1, (step + 1) / warmup) * (1 - step / steps) ** power``

    Example:
        >>> rate_factor(0, OptimizationConfig(steps=10))
        1.0
    """
    warm = min(1.0, (step + 1) / optimization.warmup) if optimization.warmup else 1.0
    remaining = max(0.0, 1.0 - step / optimization.steps)
    return float(warm * remaining**optimization.poly_power)


def _predicted_ids(logits: Tensor, padded: Tensor, masks: Tensor) -> Tensor:
    """The class of every pixel of the crops, without a map of all classes at their size."""
    H, W = masks.shape[-2:]
    row_step = logits.shape[-2] / padded.shape[-2]
    column_step = logits.shape[-1] / padded.shape[-1]
    return decide([SmallLogits(logits, row_step, column_step)], range(H), range(W))
