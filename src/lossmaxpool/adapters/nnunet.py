"""nnU-Net: trainers with loss max-pooling, alone and beside Dice.

nnU-Net looks a trainer up by its name in the folders of the environment variable
``nnUNet_extTrainer``. A file of one line in a folder of your own,
``from lossmaxpool.adapters.nnunet import *``, makes the trainers of this module known, and a
subclass in it with other options is a trainer of its own, with its own folder of results.
"""

from __future__ import annotations

from typing import Any

from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn

from lossmaxpool.functional import Pool
from lossmaxpool.losses.max_pooling import MaxPoolingCrossEntropyLoss, MaxPoolingLoss
from lossmaxpool.ops.inputs import exists

__all__ = ["nnUNetTrainerDiceMaxPooling", "nnUNetTrainerMaxPooling"]


class MaxPoolingAndDice(nn.Module):
    """The loss of the trainers, for one resolution: max-pooled cross-entropy and weighted Dice.

    Args:
        regions: the output channels are regions, which may overlap, and not classes: binary
            cross-entropies, whose entries in an image share one weighting.
        ignore_label: of the label manager, None without one. With regions, the last channel of the
            target marks the ignored pixels, whatever the label is.
        dice: the Dice loss of nnU-Net, ``(output, target, loss_mask=)``; None: no Dice.
        dice_weight: its factor.
    """

    def __init__(
        self,
        *,
        regions: bool,
        ignore_label: int | None,
        dice: nn.Module | None = None,
        dice_weight: float = 1.0,
        p: float = 1.3,
        min_support: float = 0.25,
        pool: Pool = "image",
    ) -> None:
        super().__init__()
        options: Any = {"p": p, "min_support": min_support, "pool": pool}
        self.regions, self.ignore_label = regions, ignore_label
        self.dice, self.dice_weight = dice, dice_weight
        self.pooled: nn.Module
        if regions:
            self.pooled = MaxPoolingLoss(nn.BCEWithLogitsLoss(reduction="none"), **options)
        else:
            self.pooled = MaxPoolingCrossEntropyLoss(ignore_index=ignore_label, **options)

    def extra_repr(self) -> str:
        return f"regions={self.regions}, ignore_label={self.ignore_label}" + (
            "" if self.dice is None else f", dice_weight={self.dice_weight}"
        )

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (b, c, ...).

        Args:
            target: (b, 1, ...) labels; with regions (b, c, ...) zeros and ones, and one more
                channel with an ignore label.

        Raises:
            ValueError: a target of another number of channels.
        """
        ignoring = self.ignore_label is not None
        channels = output.shape[1] + ignoring if self.regions else 1
        if target.dim() != output.dim() or target.shape[1] != channels:
            kind = "regions" if self.regions else "labels"
            raise ValueError(
                f"target has shape {tuple(target.shape)}, output {tuple(output.shape)}: for "
                f"{kind} {'with' if ignoring else 'without'} an ignore label, {channels} channels "
                "are expected: does the trainer's data loading fit its label manager?"
            )
        mask = None
        loss: Tensor
        if self.regions:
            if ignoring:
                mask, target = target[:, -1:] == 0, target[:, :-1]
            loss = self.pooled(output.float(), target.float(), mask)
        else:
            loss = self.pooled(output, target)
            if self.ignore_label is not None:
                mask = exists(target, self.ignore_label)
                target = target.where(mask, 0)
        if self.dice is not None:
            loss = loss + self.dice_weight * self.dice(output, target, loss_mask=mask)
        return loss


class nnUNetTrainerMaxPooling(nnUNetTrainer):  # type: ignore[misc]  # noqa: N801
    """nnU-Net with max-pooled cross-entropy in the place of Dice + cross-entropy.

    Everything else is nnU-Net's: plans, augmentation, schedule, weights of the deep supervision.
    Labels, regions and the ignore label follow from ``dataset.json``. The options are attributes of
    the class, and a subclass that changes them needs a name of its own: results are stored and
    found by it. To change another trainer of nnU-Net, inherit from both, this one first.

    Attributes:
        p: norm exponent in [1, inf].
        min_support: m / n in (0, 1].
        pool: "image", "batch" or "world" (the patches of all GPUs).
        dice_weight: factor of nnU-Net's own Dice loss, added to the pooled one; 0: without.

    Raises:
        ValueError: options outside their range.
        TypeError: a base class that has no Dice loss to add.

    Example:
        ``nnUNetv2_train 1 2d 0 -tr nnUNetTrainerMaxPooling``

    References:
        Rota Bulò et al. 2017, Eq. 4 and 5.
    """

    p: float = 1.3
    min_support: float = 0.25
    pool: Pool = "image"
    dice_weight: float = 0.0

    def _build_loss(self) -> nn.Module:
        """Put the loss in the place of the one that the base class builds."""
        name = type(self).__name__
        if not isinstance(self.dice_weight, (int, float)) or not self.dice_weight >= 0:
            raise ValueError(f"dice_weight of {name} must be >= 0, got {self.dice_weight!r}.")
        built: nn.Module = super()._build_loss()
        inner: Any = built.loss if isinstance(built, DeepSupervisionWrapper) else built
        if self.dice_weight and not hasattr(inner, "dc"):
            raise TypeError(
                f"{name} adds Dice, and the loss of its base class, {type(inner).__name__}, has "
                "none: set dice_weight = 0, or inherit from a trainer with a Dice loss."
            )
        loss = MaxPoolingAndDice(
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
            dice=inner.dc if self.dice_weight else None,
            dice_weight=self.dice_weight,
            p=self.p,
            min_support=self.min_support,
            pool=self.pool,
        )
        if inner is built:
            return loss
        built.loss = loss
        return built


class nnUNetTrainerDiceMaxPooling(nnUNetTrainerMaxPooling):  # noqa: N801
    """nnU-Net with Dice + max-pooled cross-entropy in the place of Dice + cross-entropy.

    The Dice loss is nnU-Net's own, with its options for labels and for regions. For the options see
    :class:`nnUNetTrainerMaxPooling`.

    Example:
        ``nnUNetv2_train 1 2d 0 -tr nnUNetTrainerDiceMaxPooling``
    """

    dice_weight = 1.0
