"""Online bootstrapping, the paper's nearest rival: only the k highest pixel losses train."""

from __future__ import annotations

from typing import get_args

from torch import Tensor, nn

from lossmaxpool.checks import check_choice
from lossmaxpool.functional import Pool, Reduction, pool_losses
from lossmaxpool.losses.options import (
    Weight,
    as_weight,
    check_ignore_index,
    check_smoothing,
)
from lossmaxpool.losses.pixel import pixel_cross_entropy


class BootstrappedCrossEntropyLoss(nn.Module):
    """The mean of the k highest pixel losses of every image.

    It is loss max-pooling at p = 1 with m = k (Theorem 2), so it needs no sort either; losses
    tied at the k-th place share its weight evenly.

    Args:
        k: the number of pixels that train, at least 1. The source takes 512 per 512x512 crop.
            Images with fewer valid pixels use all of them.
        weight: (C,) class weights, a tensor or a sequence.
        ignore_index: target id of pixels that do not exist.
        label_smoothing: in [0, 1], as in torch.
        pool: what k pixels are drawn from: each "image", the "batch", or all ranks ("world").
        reduction: over images with a valid pixel: "mean", "sum" or "none".

    Shapes:
        As :class:`~lossmaxpool.losses.MaxPoolingCrossEntropyLoss`.

    Raises:
        ValueError, TypeError: parameters or tensors that do not fit.

    Example:
        >>> criterion = BootstrappedCrossEntropyLoss(k=32, ignore_index=255)
        >>> loss = criterion(torch.randn(2, 5, 16, 16), torch.randint(0, 5, (2, 16, 16)))

    References:
        Wu, Shen, van den Hengel 2016, Sect. 3.3 ([43] in Rota Bulò et al. 2017).
    """

    weight: Tensor | None

    def __init__(
        self,
        k: int = 512,
        *,
        weight: Weight = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        pool: Pool = "image",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be a number of pixels, an integer >= 1, got {k!r}.")
        check_ignore_index(ignore_index)
        check_smoothing(label_smoothing)
        check_choice("pool", pool, get_args(Pool))
        check_choice("reduction", reduction, get_args(Reduction))
        self.register_buffer("weight", as_weight("weight", weight))
        self.k = k
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.pool: Pool = pool
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the bootstrapped loss of logits (B, C, ...) and target (B, ...)."""
        losses, valid = pixel_cross_entropy(
            logits,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )
        return pool_losses(
            losses,
            valid,
            p=1.0,
            fraction=0.0,
            least=float(self.k),
            pool=self.pool,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return f"k={self.k}, pool={self.pool!r}, reduction={self.reduction!r}"
