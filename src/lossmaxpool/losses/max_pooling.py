"""Loss max-pooling as modules: of any pixel loss, and of the cross-entropy.

The rivals of :mod:`lossmaxpool.losses.rivals` share the base classes: options, pool, reduction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lossmaxpool.checks import options_by_name
from lossmaxpool.functional import (
    Pool,
    Reduction,
    check_cross_entropy,
    check_pooling,
    pixel_cross_entropy,
    pool_cross_entropy,
    pool_losses,
    weighting_set,
)
from lossmaxpool.ops.dispatch import Backend
from lossmaxpool.ops.inputs import check_tensor, exists
from lossmaxpool.ops.weighting_set import WeightingSet

PixelLoss = nn.Module | Callable[[Tensor, Tensor], Tensor]
Weight = Tensor | Sequence[float] | None


class PooledLoss(nn.Module):
    """Base class of pooled pixel losses: the pool and the reduction over pools."""

    p: float
    min_support: float

    def __init__(self, pool: Pool, reduction: Reduction, backend: Backend) -> None:
        super().__init__()
        check_pooling(pool, reduction, backend)
        self.pool: Pool = pool
        self.reduction: Reduction = reduction
        self.backend: Backend = backend

    @property
    def weighting(self) -> WeightingSet:
        """The weighting set of the current parameters."""
        return weighting_set(self.p, self.min_support)

    def _pooled(self, losses: Tensor, valid: Tensor | None) -> Tensor:
        return pool_losses(
            losses,
            valid,
            self.weighting,
            pool=self.pool,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self._shown()]
        return ", ".join([*shown, f"pool={self.pool!r}, reduction={self.reduction!r}"])

    def _shown(self) -> tuple[str, ...]:
        """The parameters that ``extra_repr`` shows."""
        return ("p", "min_support")


class LabeledLoss(PooledLoss):
    """Base class of pooled losses of logits and labels."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Weight,
        ignore_index: int | None,
        label_smoothing: float,
        pool: Pool,
        reduction: Reduction,
        backend: Backend,
    ) -> None:
        super().__init__(pool, reduction, backend)
        check_cross_entropy(ignore_index, label_smoothing)
        self.register_buffer("weight", as_weight("weight", weight))
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def pixel_losses(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the losses (B, *spatial) that :meth:`forward` pools, detached, and their mask."""
        return pixel_cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            backend=self.backend,
        )

    def _cross_entropy(
        self, input: Tensor, target: Tensor, *, inplace_backward: bool = False
    ) -> Tensor:
        return pool_cross_entropy(
            input,
            target,
            self.weighting,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            pool=self.pool,
            reduction=self.reduction,
            backend=self.backend,
            inplace_backward=inplace_backward,
        )


class MaxPoolingLoss(PooledLoss):
    """Max-pool the pixel losses of any criterion.

    ``L_W = max w . l`` over the weighting set of Eq. 5: see
    :func:`~lossmaxpool.functional.loss_max_pool`.

    Args:
        pixel_loss: a module or function ``(input, target) -> (B, ...)`` non-negative losses, for
            instance ``nn.SmoothL1Loss(reduction="none")`` for depth. A module's parameters are
            this module's parameters.
        p: norm exponent in [1, inf]; a plain attribute that may be changed during training.
        min_support: m / n in (0, 1]; likewise a plain attribute.
        ignore_index: target value of ignored pixels; None: all are valid.
        pool: "image", "batch" or "world".
        reduction: "mean", "sum" or "none" (one value per image).
        backend: the solver of the pools: "auto", "torch", "native" or "triton".

    Shapes:
        Losses (B, *spatial), or (B, C, *spatial) as many focal losses return them: then each entry
        is a loss with its own weight. The mask of valid pixels, from ``ignore_index`` and
        ``valid``, has the shape of the losses, or (B, *spatial) or (B, 1, *spatial), and is then
        used for all channels.

    Raises:
        ValueError: parameters outside their range, losses without an image dimension, or (N,)
            losses pooled by image.
        TypeError: a pixel loss that is not callable or does not return a tensor. Exceptions of
            the pixel loss itself propagate.

    Example:
        >>> criterion = MaxPoolingLoss(nn.SmoothL1Loss(reduction="none"), p=1.7)
        >>> criterion(torch.zeros(2, 8, 8), torch.ones(2, 8, 8))
        tensor(0.5000)

    References:
        Rota Bulò et al. 2017, Eq. 3-5: any non-negative pixel loss.
    """

    @options_by_name("self, pixel_loss")
    def __init__(
        self,
        pixel_loss: PixelLoss,
        *,
        p: float = 1.3,
        min_support: float = 0.25,
        ignore_index: float | None = None,
        pool: Pool = "image",
        reduction: Reduction = "mean",
        backend: Backend = "auto",
    ) -> None:
        weighting_set(p, min_support)
        super().__init__(pool, reduction, backend)
        if not callable(pixel_loss):
            raise TypeError(
                f"pixel_loss must be a module or a function (input, target) -> losses, got "
                f"{pixel_loss!r}."
            )
        if ignore_index is not None and not _is_number(ignore_index):
            raise ValueError(
                f"ignore_index must be a number that a target can hold, got {ignore_index!r}: "
                "where the target itself is NaN, pass valid=~target.isnan() to the loss."
            )
        self.p, self.min_support = p, min_support
        self.pixel_loss = pixel_loss
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the pooled loss of ``pixel_loss(input, target)``.

        Args:
            valid: bool mask of the valid pixels, in addition to ``ignore_index``.

        Returns:
            A scalar, or one value per pool for reduction "none".
        """
        return self._pooled(*self._losses(input, target, valid))

    @torch.no_grad()
    def pixel_losses(
        self, input: Tensor, target: Tensor, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the losses (B, ...) that :meth:`forward` pools, detached, and their mask."""
        return self._losses(input, target, valid)

    def _losses(
        self, input: Tensor, target: Tensor, valid: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        mask = valid
        if self.ignore_index is not None:
            check_tensor("target", target)
            labeled = exists(target, self.ignore_index)
            mask = labeled if mask is None else labeled & _aligned(mask, labeled.shape)
        if mask is not None and mask.dtype == torch.bool:
            input, target = _finite(input, mask), _finite(target, mask)
        losses = self.pixel_loss(input, target)
        check_tensor("the losses of pixel_loss", losses)
        if losses.dim() == 0:
            raise ValueError(
                "pixel_loss returned a scalar: it has to return one loss per pixel, (B, ...). "
                'Build it with reduction="none".'
            )
        return losses, None if mask is None else _aligned(mask, losses.shape)


class MaxPoolingCrossEntropyLoss(LabeledLoss):
    """Drop-in for ``nn.CrossEntropyLoss`` that gives higher weight to pixels with a higher loss.

    The pixel losses l of each image are not averaged but pooled to ``max w . l`` over
    ``||w||_p <= n^(-1/q)``, ``||w||_inf <= n^(-1/q) m^(-1/p)``: an upper bound of the mean that
    needs no class statistics. With ``pool="batch"``, ``p=inf`` and no class weights it equals
    ``nn.CrossEntropyLoss``, except that a batch without valid pixels gives 0 instead of NaN.

    Args:
        p: norm exponent in [1, inf]; 1 uses the hardest m pixels only, inf averages all.
        min_support: m / n in (0, 1], the least share of valid pixels that carries weight.
        weight: (C,) class weights, a tensor or a sequence. They scale the pixel losses; unlike in
            torch's mean, their sum does not divide the result.
        ignore_index: target id of ignored pixels: they do not count towards n or m, have weight 0
            and a zero gradient. None: all are valid.
        label_smoothing: in [0, 1], as in torch.
        pool: "image" (the paper), "batch", or "world" (all ranks, exactly).
        reduction: over images with a valid pixel: "mean", "sum", or "none": one value per image,
            (B,), not per pixel.
        backend: "auto" takes the fastest that can run (see
            :func:`~lossmaxpool.explain_backend`); "torch" (every device), "native" (the compiled
            CPU kernel) or "triton" (GPUs) selects one without fallback.
        inplace_backward: the backward pass writes the gradient in place of the logits, whose values
            are lost, and allocates nothing of their size: see
            :func:`~lossmaxpool.functional.max_pooling_cross_entropy`. A plain attribute.

    Shapes:
        input: logits (B, C, *spatial), C >= 2, up to three spatial dimensions (tokens, images,
        volumes), any floating dtype; (N, C) with ``pool="batch"`` or "world". target: (B, *spatial)
        or (B, 1, *spatial) class ids of any integer dtype or of a floating dtype with integer
        values, or (B, C, *spatial) probabilities. Logits of lower resolution are upsampled
        bilinearly (``align_corners=False``) to the target's, by any factor.

    Raises:
        RuntimeError: a backend that cannot run here.
        ValueError, TypeError: parameters or tensors that do not fit, with the fix. On the CPU,
            labels outside [0, C) raise; on a GPU, where checking them would synchronize, they make
            the loss NaN.

    Example:
        >>> criterion = MaxPoolingCrossEntropyLoss(ignore_index=255)
        >>> logits = torch.randn(2, 19, 16, 16, requires_grad=True)
        >>> target = torch.randint(0, 19, (2, 64, 64), dtype=torch.uint8)
        >>> criterion(logits, target).backward()

    References:
        Rota Bulò et al. 2017, Eq. 4 and 5, Theorems 1 and 2; defaults of Sect. 5.2.
    """

    @options_by_name("self")
    def __init__(
        self,
        *,
        p: float = 1.3,
        min_support: float = 0.25,
        weight: Weight = None,
        ignore_index: int | None = -100,
        label_smoothing: float = 0.0,
        pool: Pool = "image",
        reduction: Reduction = "mean",
        backend: Backend = "auto",
        inplace_backward: bool = False,
    ) -> None:
        weighting_set(p, min_support)
        super().__init__(weight, ignore_index, label_smoothing, pool, reduction, backend)
        self.p, self.min_support = p, min_support
        self.inplace_backward = inplace_backward

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the pooled cross-entropy of logits (B, C, ...) and target (B, ...)."""
        return self._cross_entropy(input, target, inplace_backward=self.inplace_backward)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _aligned(mask: Tensor, shape: torch.Size) -> Tensor:
    """Expand a (B, *spatial) or (B, 1, *spatial) mask to ``shape``; return any other unchanged.

    ``shape`` is the shape of the (B, C, *spatial) or (B, *spatial) losses.
    """
    if mask.dim() == len(shape) + 1 and mask.shape[1] == 1:
        mask = mask.squeeze(1)
    if mask.dim() == len(shape) - 1 and mask.dim() > 0:
        mask = mask.unsqueeze(1)
    fits = mask.dim() == len(shape) and mask.shape[2:] == shape[2:] and mask.shape[:1] == shape[:1]
    if fits and mask.dim() > 1 and mask.shape[1] == 1:
        return mask.expand(shape)
    return mask


def _finite(x: Tensor, mask: Tensor) -> Tensor:
    """Replace NaN and infinities of ``x`` at ignored pixels by 0, if the shapes match.

    Their weight is 0, but the derivative of a pixel loss at NaN is NaN, and 0 * NaN is NaN.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return x
    mask = _aligned(mask, x.shape)
    return x.masked_fill(~(mask | x.isfinite()), 0) if mask.shape == x.shape else x


def as_weight(name: str, weight: Weight) -> Tensor | None:
    """Class weights as a float tensor, from a tensor or any sequence; None stays None."""
    if weight is None:
        return None
    try:
        tensor = torch.as_tensor(weight)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name} must be a tensor or a sequence of numbers, got {weight!r}: "
            "pass one number per class."
        ) from error
    if not tensor.is_floating_point():
        tensor = tensor.float()
    if not bool(((tensor >= 0) & (tensor < torch.inf)).all()):
        raise ValueError(
            f"{name} must be finite and >= 0, got {tensor.tolist()}: a negative weight would "
            "make losses negative."
        )
    return tensor.detach()
