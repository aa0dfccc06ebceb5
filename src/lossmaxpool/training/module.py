"""One training step, one evaluation: the part that Lightning drives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.losses.pixel import upsample_to
from lossmaxpool.metrics import ConfusionMatrix
from lossmaxpool.models import ModelDescription, full_size_logits, input_stride
from lossmaxpool.training.config import OptimisationConfig, TrainConfig
from lossmaxpool.training.draws import mix
from lossmaxpool.training.errors import NonFiniteLossError


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
        self.description = description
        self.sample_name = sample_name
        self.stride = input_stride(model)
        self.confusion = ConfusionMatrix(len(description.classes))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to rebuild the network without the run folder."""
        checkpoint[ModelDescription.KEY] = self.description.as_dict()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, C, h, w) of normalised images (B, 3, H, W)."""
        if self.config.hardware.channels_last:
            images = images.to(memory_format=torch.channels_last)
        logits: Tensor = self.model(images)
        return logits

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Seed dropout from the step: no random state has to survive in a checkpoint."""
        torch.manual_seed(mix(self.config.seed, self.global_step, self.global_rank, 1))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the loss, and the plain cross-entropy where the curve has an entry.

        Raises:
            NonFiniteLossError: The loss is NaN or infinite.
        """
        logits = self(batch["image"])
        loss = self.criterion(logits, batch["mask"])
        if not torch.isfinite(loss):
            names = (self.sample_name(index) for index in batch["index"].tolist())
            raise NonFiniteLossError(
                f"the loss is {loss.item()} at step {self.global_step}, on the images "
                f"{', '.join(names)}: lower optimisation.lr, add optimisation.warmup, "
                "or look at these images"
            )
        output = {"loss": loss}
        if (self.global_step + 1) % self.config.reporting.log_every == 0 or self.global_step == 0:
            output["cross_entropy"] = _mean_cross_entropy(logits.detach(), batch["mask"])
        return output

    def on_validation_epoch_start(self) -> None:
        self.confusion = ConfusionMatrix(len(self.description.classes), self.device)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add one image to the confusion matrix."""
        self.confusion.update(self.full_size_logits(batch["image"]).argmax(dim=1), batch["mask"])

    def on_validation_epoch_end(self) -> None:
        """Add up the ranks: each has seen its own images."""
        self.confusion = self.confusion.reduce()

    def full_size_logits(self, images: Tensor) -> Tensor:
        """Return logits (B, C, H, W), float32, of images (B, 3, H, W) of any size."""
        return full_size_logits(self, images, self.stride)

    def configure_optimizers(self) -> Any:
        """Return the descent and its rate, a function of the step."""
        optimisation = self.config.optimisation
        optimizer = torch.optim.SGD(
            parameter_groups(self.model, optimisation),
            lr=optimisation.lr,
            momentum=optimisation.momentum,
            weight_decay=optimisation.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(step, optimisation)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(model: nn.Module, optimisation: OptimisationConfig) -> list[dict[str, Any]]:
    """Split the trainable parameters: encoder at the base rate, the rest at a multiple of it."""
    encoder: list[nn.Parameter] = []
    head: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (encoder if name.startswith("encoder.") else head).append(parameter)
    groups = [
        {"params": encoder, "lr": optimisation.lr},
        {"params": head, "lr": optimisation.lr * optimisation.head_lr_multiplier},
    ]
    return [group for group in groups if group["params"]]


def rate_factor(step: int, optimisation: OptimisationConfig) -> float:
    """Return the share of the base learning rate at a step: warm-up times poly decay.

    ``min(1, (step + 1) / warmup) * (1 - step / steps) ** power``

    Example:
        >>> rate_factor(0, OptimisationConfig(steps=10))
        1.0
    """
    warm = min(1.0, (step + 1) / optimisation.warmup) if optimisation.warmup else 1.0
    remaining = max(0.0, 1.0 - step / optimisation.steps)
    return float(warm * remaining**optimisation.poly_power)


@torch.no_grad()
def _mean_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    total = F.cross_entropy(
        upsample_to(logits, masks.shape[-2:]).float(),
        masks,
        ignore_index=IGNORE_INDEX,
        reduction="sum",
    )
    return total / (masks != IGNORE_INDEX).sum().clamp(min=1)
