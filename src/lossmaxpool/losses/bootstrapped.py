"""Online bootstrapping, the paper's nearest rival: only the k highest pixel losses train."""

from __future__ import annotations

from torch import Tensor

from lossmaxpool.functional import Pool, Reduction
from lossmaxpool.losses.cross_entropy import PooledCrossEntropyLoss
from lossmaxpool.losses.options import Weight
from lossmaxpool.ops.fused.choice import Backend


class BootstrappedCrossEntropyLoss(PooledCrossEntropyLoss):
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
        backend: "auto", "torch", "native" or "triton", as there.

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

    def __init__(
        self,
        k: int = 512,
        *,
        weight: Weight = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        pool: Pool = "image",
        reduction: Reduction = "mean",
        backend: Backend = "auto",
    ) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be a number of pixels, an integer >= 1, got {k!r}.")
        super().__init__(weight, ignore_index, label_smoothing, pool, reduction, backend)
        self.k = k

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the bootstrapped loss of logits (B, C, ...) and target (B, ...)."""
        return self._pooled(logits, target, p=1.0, fraction=0.0, least=float(self.k))

    def _shown(self) -> tuple[str, ...]:
        return ("k",)
