"""Loss max-pooling as modules: over any pixel loss, cross-entropy, binary cross-entropy."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lossmaxpool.functional import Pool, Reduction, loss_max_pool
from lossmaxpool.losses.cross_entropy import PooledCrossEntropyLoss
from lossmaxpool.losses.options import (
    LabelledLoss,
    PooledLoss,
    Weight,
    as_weight,
    check_weighting_set,
)
from lossmaxpool.losses.pixel import exists, pixel_binary_cross_entropy
from lossmaxpool.ops.fused.choice import Backend

PixelLoss = Callable[[Tensor, Tensor], Tensor]


class MaxPoolingLoss(PooledLoss):
    """Max-pool the pixel losses of any criterion.

    ``L_W = max w . l`` over the weighting set of Eq. 5: see
    :func:`~lossmaxpool.functional.loss_max_pool`.

    Args:
        pixel_loss: a callable ``(input, target) -> (B, ...)`` non-negative losses, for instance
            ``nn.SmoothL1Loss(reduction="none")`` for depth. A module's parameters are this
            module's parameters.
        p: norm exponent in [1, inf]; a plain attribute, free to follow a schedule.
        min_support: m / n in (0, 1]; a plain attribute as well.
        ignore_index: target value that marks pixels which do not exist; None: all exist. The
            target must then have the shape of the losses.
        pool: "image", "batch" or "world".
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: parameters outside their range, or losses without an image dimension.

    Example:
        >>> criterion = MaxPoolingLoss(nn.SmoothL1Loss(reduction="none"), p=1.7)
        >>> criterion(torch.zeros(2, 8, 8), torch.ones(2, 8, 8))
        tensor(0.5000)

    References:
        Rota Bulò et al. 2017, Eq. 3-5: the pixel loss is free but non-negative.
    """

    def __init__(
        self,
        pixel_loss: PixelLoss,
        p: float = 1.3,
        min_support: float = 0.25,
        *,
        ignore_index: int | None = None,
        pool: Pool = "image",
        reduction: Reduction = "mean",
    ) -> None:
        check_weighting_set(p, min_support)
        super().__init__(pool, reduction)
        self.p, self.min_support = p, min_support
        self.pixel_loss = pixel_loss
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the pooled loss of ``pixel_loss(input, target)``."""
        losses = self.pixel_loss(input, target)
        if losses.dim() == 0:
            raise ValueError(
                "pixel_loss returned a scalar: it has to return one loss per pixel, (B, ...). "
                'Build it with reduction="none".'
            )
        valid = None if self.ignore_index is None else exists(target, self.ignore_index)
        return _max_pool(self, losses, valid)


class MaxPoolingCrossEntropyLoss(PooledCrossEntropyLoss):
    """Drop-in for ``nn.CrossEntropyLoss`` that weighs pixels by what the model gets wrong.

    Every image's pixel losses l are pooled to ``max w . l`` over ``||w||_p <= n^(-1/q)``,
    ``||w||_inf <= n^(-1/q) m^(-1/p)`` instead of averaged: an upper bound of the mean, without
    class statistics. With ``pool="batch"``, ``p=inf`` and no class weights it is
    ``nn.CrossEntropyLoss``, except that a batch without valid pixels gives 0 instead of NaN.

    Args:
        p: norm exponent in [1, inf]; 1 attends to the hardest m pixels only, inf averages.
        min_support: m / n in (0, 1], the least share of valid pixels that carries weight.
        weight: (C,) class weights, a tensor or a sequence. They scale the pixel losses; unlike in
            torch's mean, their sum does not divide the result.
        ignore_index: target id of pixels that do not exist: they change neither n nor m, weigh 0
            and get a zero gradient.
        label_smoothing: in [0, 1], as in torch.
        pool: "image" (the paper), "batch", or "world" (all ranks, exactly).
        reduction: over images with a valid pixel: "mean", "sum", or "none" (B,).
        backend: "auto" takes the fastest that can run, and
            :func:`~lossmaxpool.explain_backend` says which; "torch" (every device), "native"
            (the compiled CPU kernel) and "triton" (GPUs) insist.

    Shapes:
        logits (B, C, *spatial), up to three spatial dimensions (tokens, images, volumes), any
        floating dtype; target (B, *spatial) of any integer dtype, or (B, C, *spatial)
        probabilities. Logits of lower resolution are upsampled bilinearly
        (``align_corners=False``) to the target's.

    Raises:
        RuntimeError: a backend that cannot run here.
        ValueError, TypeError: parameters or tensors that do not fit, with what to change. On the
            CPU labels outside [0, C) are named; on a GPU, where a look would make the host wait,
            they make the loss NaN.

    Example:
        >>> criterion = MaxPoolingCrossEntropyLoss(ignore_index=255)
        >>> logits = torch.randn(2, 19, 16, 16, requires_grad=True)
        >>> target = torch.randint(0, 19, (2, 64, 64), dtype=torch.uint8)
        >>> criterion(logits, target).backward()

    References:
        Rota Bulò et al. 2017, Eq. 4 and 5, Theorems 1 and 2; defaults of Sect. 5.2.
    """

    def __init__(
        self,
        p: float = 1.3,
        min_support: float = 0.25,
        *,
        weight: Weight = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        pool: Pool = "image",
        reduction: Reduction = "mean",
        backend: Backend = "auto",
    ) -> None:
        check_weighting_set(p, min_support)
        super().__init__(weight, ignore_index, label_smoothing, pool, reduction, backend)
        self.p, self.min_support = p, min_support

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the pooled cross-entropy of logits (B, C, ...) and target (B, ...)."""
        check_weighting_set(self.p, self.min_support)
        return self._pooled(logits, target, p=self.p, fraction=self.min_support, least=1.0)


class MaxPoolingBCEWithLogitsLoss(LabelledLoss):
    """Drop-in for ``nn.BCEWithLogitsLoss``: binary and multilabel segmentation.

    Every entry of the logits has its own loss and its own weight; the entries of an image, over
    all its labels, share one weighting set.

    Args:
        p: norm exponent in [1, inf].
        min_support: m / n in (0, 1], n the number of valid entries of an image.
        weight: factors of the entries' losses, broadcast against the logits.
        pos_weight: (C,) factor of the positives of each label, as in torch.
        ignore_index: target value of entries that do not exist.
        label_smoothing: moves targets towards 1/2, in [0, 1].
        pool: "image", "batch" or "world".
        reduction: "mean", "sum" or "none".
        backend: "auto" or "torch".

    Shapes:
        logits (B, C, *spatial) or (B, *spatial); target of the same shape, or (B, *spatial) for
        C = 1; 0/1 of any dtype, or probabilities. Low-resolution logits are upsampled.

    Raises:
        RuntimeError: a backend that cannot run here.
        ValueError, TypeError: parameters or tensors that do not fit; on the CPU targets outside
            [0, 1], such as masks saved as 0/255.

    Example:
        >>> criterion = MaxPoolingBCEWithLogitsLoss(ignore_index=255)
        >>> float(criterion(torch.zeros(1, 1, 4, 4), torch.ones(1, 4, 4)))  # doctest: +ELLIPSIS
        0.693...

    References:
        Rota Bulò et al. 2017, Eq. 4; the binary pixel loss takes the place of the softmax loss.
    """

    _has_kernels = False
    pos_weight: Tensor | None

    def __init__(
        self,
        p: float = 1.3,
        min_support: float = 0.25,
        *,
        weight: Weight = None,
        pos_weight: Weight = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        pool: Pool = "image",
        reduction: Reduction = "mean",
        backend: Backend = "auto",
    ) -> None:
        check_weighting_set(p, min_support)
        super().__init__(weight, ignore_index, label_smoothing, pool, reduction, backend)
        self.p, self.min_support = p, min_support
        self.register_buffer("pos_weight", as_weight("pos_weight", pos_weight))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the pooled binary cross-entropy of logits and 0/1 targets."""
        losses, valid = pixel_binary_cross_entropy(
            logits,
            target,
            weight=self.weight,
            pos_weight=self.pos_weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )
        return _max_pool(self, losses, valid)


def _max_pool(
    loss: MaxPoolingLoss | MaxPoolingBCEWithLogitsLoss, losses: Tensor, valid: Tensor | None
) -> Tensor:
    return loss_max_pool(
        losses,
        p=loss.p,
        min_support=loss.min_support,
        valid=valid,
        pool=loss.pool,
        reduction=loss.reduction,
    )
