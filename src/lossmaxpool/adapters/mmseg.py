"""MMSegmentation: ``MaxPoolingLoss`` for a head's ``loss_decode``, ``MaxPoolingPixelSampler``.

``custom_imports = dict(imports=["lossmaxpool.adapters.mmseg"])`` in a config registers both. The
loss is the better choice where it fits: one fused pass, no map of weights. The sampler pools the
pixel losses of another loss of MMSegmentation, with the name and arguments known from OTX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS, TASK_UTILS
from torch import Tensor, nn

from lossmaxpool.checks import check_choice, check_norm, check_share
from lossmaxpool.functional import (
    Pool,
    loss_max_pool,
    max_pooling_cross_entropy,
    solve,
    weighting_set,
)
from lossmaxpool.losses.max_pooling import as_weight
from lossmaxpool.ops.dispatch import Backend, check_backend
from lossmaxpool.ops.inputs import NO_LABEL, exists, may_look, refuse_unknown_labels

Reduced = Literal["mean", "sum"]

# MMSegmentation adds this to an avg_factor, which may be 0.
_EPS = torch.finfo(torch.float32).eps


class MaxPoolingLoss(nn.Module):
    """Max-pooled cross-entropy for ``loss_decode``, in the place of ``CrossEntropyLoss``.

    Ignored pixels do not exist: there is no ``avg_non_ignore`` to set.

    Args:
        p: norm exponent in [1, inf].
        min_support: m / n in (0, 1].
        use_sigmoid: binary cross-entropy of each channel; needed for ``out_channels=1``. All
            entries of an image share one weighting.
        class_weight: one factor per class, or a file that MMSegmentation reads them from; with
            ``use_sigmoid`` a factor of the positives, as there.
        pool: the pixels that share one weighting: "image", "batch" or "world" (all ranks).
        reduction: "mean" over the pools with a valid pixel; "sum" as in MMSegmentation, where it
            counts pixels: each pool counts its value times its valid pixels.
        loss_weight: factor of the result.
        loss_name: name in the log.
        backend: as in :class:`~lossmaxpool.MaxPoolingCrossEntropyLoss`.

    Raises:
        ValueError: options outside their range; a name without "loss", which MMEngine would log but
            not train.

    Example:
        ``decode_head=dict(..., loss_decode=dict(type="MaxPoolingLoss", p=1.3, min_support=0.25))``

    References:
        Rota Bulò et al. 2017, Eq. 4 and 5.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        p: float = 1.3,
        min_support: float = 0.25,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | str | None = None,
        pool: Pool = "image",
        reduction: Reduced = "mean",
        loss_weight: float = 1.0,
        loss_name: str = "loss_lmp",
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        weighting_set(p, min_support)
        check_choice("pool", pool, get_args(Pool))
        check_choice("reduction", reduction, get_args(Reduced))
        check_backend(backend)
        if "loss" not in loss_name:
            raise ValueError(
                f"loss_name must contain 'loss', got {loss_name!r}: MMEngine trains only what is "
                "called so, e.g. 'loss_lmp'."
            )
        weight: Any = class_weight
        if isinstance(class_weight, str):
            from mmseg.models.losses.utils import get_class_weight

            weight = get_class_weight(class_weight)
        self.register_buffer("class_weight", as_weight("class_weight", weight), persistent=False)
        self.p, self.min_support, self.use_sigmoid = p, min_support, use_sigmoid
        self.pool: Pool = pool
        self.reduction, self.loss_weight, self.backend = reduction, loss_weight, backend
        self.loss_name = loss_name

    def extra_repr(self) -> str:
        shown = ("p", "min_support", "use_sigmoid", "pool", "reduction", "loss_weight")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)

    def forward(
        self,
        pred: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = 255,
    ) -> Tensor:
        """Return the pooled loss, a scalar.

        Args:
            pred: logits (N, C, H, W).
            weight: (N, H, W) factors of the pixel losses, e.g. of ``OHEMPixelSampler``: pixels of
                factor 0 still count.
            avg_factor: divisor of the "sum" above, with reduction "mean".
            reduction_override: "mean", "sum", or "none": the pixel losses before pooling,
                (N, H, W), 0 where ignored, as samplers of MMSegmentation expect;
                with ``use_sigmoid`` and C > 1 of shape (N, C, H, W).
            ignore_index: id of ignored pixels; None: all are labeled.

        Raises:
            ValueError: shapes or labels that do not fit, an unknown reduction, or ``avg_factor``
                with reduction "sum".
        """
        reduction = self.reduction if reduction_override is None else reduction_override
        check_choice("reduction_override", reduction, (*get_args(Reduced), "none"))
        ignore_index = NO_LABEL if ignore_index is None else ignore_index
        if pred.dim() > 1 and pred.shape[1] == 1 and not self.use_sigmoid:
            raise ValueError(
                f"pred has shape {tuple(pred.shape)}, a single channel, whose cross-entropy is 0: "
                "add use_sigmoid=True to MaxPoolingLoss, or remove out_channels=1."
            )
        options: Any = {"p": self.p, "min_support": self.min_support, "pool": self.pool}
        options |= {"reduction": "none", "backend": self.backend}
        if weight is None and reduction != "none" and not self.use_sigmoid:
            values = max_pooling_cross_entropy(
                pred, label, weight=self.class_weight, ignore_index=ignore_index, **options
            )
            valid = exists(label, ignore_index)
        else:
            losses, valid = self._pixel_losses(pred, label, ignore_index)
            if weight is not None:
                losses = losses * _aligned(weight, label, losses)
            if reduction == "none":
                losses = losses.masked_fill(~valid, 0) * self.loss_weight
                return losses.squeeze(1) if pred.shape[1] == 1 else losses
            values = loss_max_pool(losses, valid=valid, **options)
        counts = valid.flatten(1).sum(1) if self.pool == "image" else valid.sum().reshape(1)
        if reduction == "mean" and avg_factor is None:
            loss = values.sum() / (counts > 0).sum().clamp(min=1)
        else:
            loss = (values * counts).sum()
            if avg_factor is not None and reduction == "sum":
                raise ValueError(
                    'avg_factor does not go with reduction "sum": leave one of them out.'
                )
            loss = loss if avg_factor is None else loss / (avg_factor + _EPS)
        return self.loss_weight * loss

    def _pixel_losses(
        self, pred: Tensor, label: Tensor, ignore_index: int
    ) -> tuple[Tensor, Tensor]:
        """The differentiable losses, (N, H, W) or by channel (N, C, H, W), and their mask."""
        if label.shape != pred.shape[:1] + pred.shape[2:]:
            raise ValueError(
                f"label has shape {tuple(label.shape)}, pred {tuple(pred.shape)}: expected class "
                "ids (N, H, W) for logits (N, C, H, W)."
            )
        channels = pred.shape[1]
        if may_look(label):
            refuse_unknown_labels(label, max(channels, 2), ignore_index)
        factors = self.class_weight
        if factors is not None and factors.shape != (channels,):
            raise ValueError(
                f"class_weight has shape {tuple(factors.shape)}, but pred has {channels} channels: "
                "one weight per channel is expected."
            )
        valid = exists(label, ignore_index)
        ids = label.long().masked_fill(~valid, 0)
        scores = pred if pred.dtype == torch.float64 else pred.float()
        scores = scores.masked_fill(~valid.unsqueeze(1), 0)  # the derivative at NaN would be NaN
        if not self.use_sigmoid:
            return F.cross_entropy(scores, ids, factors, reduction="none"), valid
        # A single channel is the class 1 of two.
        hot = F.one_hot(ids, max(channels, 2)).movedim(-1, 1)[:, -channels:].to(scores.dtype)
        if factors is not None:
            factors = factors.to(scores.dtype).reshape(-1, *[1] * (scores.dim() - 2))
        losses = F.binary_cross_entropy_with_logits(
            scores, hot, pos_weight=factors, reduction="none"
        )
        return losses, valid.unsqueeze(1).expand_as(losses)


def _aligned(weight: Tensor, label: Tensor, losses: Tensor) -> Tensor:
    if weight.shape != label.shape:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}, label {tuple(label.shape)}: one factor per "
            "pixel is expected, as pixel samplers return them."
        )
    return weight if losses.dim() == weight.dim() else weight.unsqueeze(1)


class MaxPoolingPixelSampler:
    r"""Weights of a decode head's pixel losses, for ``sampler`` of any head.

    .. math:: \frac{D}{B}\, w^*_i

    where w* are the weights of loss max-pooling for the head's own losses, D is what the loss
    divides their sum by, and B the number of images with a valid pixel (1 for the batch): the
    weighted loss of the head then equals the pooled one, and so does its gradient.

    Args:
        context: the decode head, which MMSegmentation passes.
        ratio: m / n in (0, 1], elsewhere ``min_support``.
        p: norm exponent in [1, inf].
        pool: the pixels that share one weighting, "image" or "batch". OTX pooled the batch.

    Raises:
        ValueError: options outside their range.
        TypeError: a head whose loss is ``MaxPoolingLoss``, which pools by itself.

    Example:
        ``decode_head=dict(..., sampler=dict(type="MaxPoolingPixelSampler", ratio=0.3, p=1.7))``

    References:
        Rota Bulò et al. 2017, Theorem 1 and Sect. 4: the gradient is that of the weighted sum.
    """

    def __init__(
        self,
        context: nn.Module,
        ratio: float = 0.3,
        p: float = 1.7,
        pool: Literal["image", "batch"] = "image",
    ) -> None:
        check_share("ratio", ratio)
        check_norm(p)
        check_choice("pool", pool, ("image", "batch"))
        if any(isinstance(loss, MaxPoolingLoss) for loss in _losses_of(context)):
            raise TypeError(
                "MaxPoolingPixelSampler weighs the pixels of another loss, and the head's loss is "
                "MaxPoolingLoss, which pools them itself: remove one of the two."
            )
        self.context, self.ratio, self.p, self.pool = context, ratio, p, pool
        self._tried = False

    @torch.no_grad()
    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """Return the weights (N, H, W) of logits (N, C, H, W) and labels (N, 1, H, W).

        Raises:
            ValueError: a loss that has no loss per pixel, several that divide by unlike numbers,
                or one whose divisor is not known here.
        """
        label = seg_label.squeeze(1).long()
        ignored: int = self.context.ignore_index  # type: ignore[assignment]
        modules = _losses_of(self.context)
        total = torch.zeros(label.shape, device=label.device)
        divisors = []
        for loss in modules:
            losses = loss(seg_logit, label, ignore_index=ignored, reduction_override="none")
            if losses.shape != label.shape:
                raise ValueError(
                    f"{type(loss).__name__} returns shape {tuple(losses.shape)} for labels "
                    f"{tuple(label.shape)}: MaxPoolingPixelSampler needs one loss per pixel, e.g. "
                    "CrossEntropyLoss alone; a head with a Dice loss takes MaxPoolingLoss instead."
                )
            total += losses
            divisors.append(_divisor(loss, label, ignored))
        if not all(torch.equal(divisors[0], other) for other in divisors[1:]):
            raise ValueError(
                "the losses of the head divide by unlike numbers of pixels: give all of them the "
                "same avg_non_ignore and class_weight."
            )
        valid = label != ignored
        rows = (len(label), -1) if self.pool == "image" else (1, -1)
        mask = valid.reshape(rows)
        pooled = solve(total.reshape(rows), p=self.p, min_support=self.ratio, valid=mask)
        weights = pooled.weights.reshape(label.shape)
        weights = weights * (divisors[0] / mask.any(1).sum().clamp(min=1))
        if not self._tried and bool(valid.any()):
            self._try(modules, seg_logit, label, weights, pooled.value.sum() / mask.any(1).sum())
        return weights

    def _try(
        self,
        modules: list[nn.Module],
        logits: Tensor,
        label: Tensor,
        weights: Tensor,
        expected: Tensor,
    ) -> None:
        """Compare, once, the weighted losses of the head with the pooled value."""
        ignored = self.context.ignore_index
        found = sum(loss(logits, label, weight=weights, ignore_index=ignored) for loss in modules)
        if not torch.allclose(torch.as_tensor(found).to(expected), expected, rtol=1e-3):
            names = " + ".join(type(loss).__name__ for loss in modules)
            raise ValueError(
                f"{names} with the weights of MaxPoolingPixelSampler is {float(found):.4g}, the "
                f"pooled loss {float(expected):.4g}: it divides by something else than the number "
                "of pixels. Take CrossEntropyLoss, or MaxPoolingLoss without a sampler."
            )
        self._tried = True


def _losses_of(head: Any) -> list[nn.Module]:
    found = head.loss_decode
    return list(found) if isinstance(found, nn.ModuleList) else [found]


def _divisor(loss: Any, label: Tensor, ignored: int) -> Tensor:
    """The number by which a loss of MMSegmentation divides the sum of its pixel losses."""
    valid = label != ignored
    weight = getattr(loss, "class_weight", None)
    if getattr(loss, "reduction", "mean") == "sum":
        return torch.ones((), device=label.device)
    if weight is not None and not getattr(loss, "use_sigmoid", False):
        factors = torch.as_tensor(weight, dtype=torch.float32, device=label.device)
        return factors[label[valid]].sum()
    if getattr(loss, "avg_non_ignore", False):
        return valid.sum().float()
    return torch.tensor(float(label.numel()), device=label.device)


MODELS.register_module(module=MaxPoolingLoss)
TASK_UTILS.register_module(module=MaxPoolingPixelSampler)
