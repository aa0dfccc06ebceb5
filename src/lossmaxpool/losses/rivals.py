"""The rivals: bootstrapping, hard example mining by a threshold, and logit adjustment."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool.checks import check_choice, check_count
from lossmaxpool.functional import Pool, Reduction, check_cross_entropy
from lossmaxpool.losses.class_weights import ClassPixels, class_counts
from lossmaxpool.losses.max_pooling import LabeledLoss, Weight, as_weight
from lossmaxpool.ops.dispatch import Backend
from lossmaxpool.ops.inputs import (
    NO_LABEL,
    check_logits,
    check_tensor,
    class_ids,
    exists,
    holds_probabilities,
    may_look,
    refuse_unknown_labels,
)
from lossmaxpool.ops.ranks import Ranks, ranks
from lossmaxpool.ops.upsampling import upsample_to
from lossmaxpool.ops.weighting_set import WeightingSet


class BootstrappedCrossEntropyLoss(LabeledLoss):
    """The mean of the k highest pixel losses of every image.

    It is loss max-pooling at p = 1 with m = k (Theorem 2), so it needs no sort either; losses
    tied at the k-th place share its weight evenly.

    Args:
        k: the number of pixels per image, at least 1. Wu et al. use 512 per 512x512 crop. Images
            with fewer valid pixels use all of them.
        weight: (C,) class weights, a tensor or a sequence.
        ignore_index: target id of ignored pixels; None: all are valid.
        label_smoothing: in [0, 1], as in torch.
        pool: take the k pixels of each "image", of the "batch", or of all ranks ("world").
        reduction: over images with a valid pixel: "mean", "sum" or "none" (one value per image).
        backend: "auto", "torch", "native" or "triton".

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
        ignore_index: int | None = -100,
        label_smoothing: float = 0.0,
        pool: Pool = "image",
        reduction: Reduction = "mean",
        backend: Backend = "auto",
    ) -> None:
        check_count("k", k, "pixels")
        super().__init__(weight, ignore_index, label_smoothing, pool, reduction, backend)
        self.k = k

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the bootstrapped loss of logits (B, C, ...) and target (B, ...)."""
        return self._cross_entropy(input, target)

    @property
    def weighting(self) -> WeightingSet:
        """The weighting set of the k hardest pixels."""
        return WeightingSet.top_k(self.k)

    def _shown(self) -> tuple[str, ...]:
        return ("k",)


class OHEMCrossEntropyLoss(nn.Module):
    """Online hard example mining by a threshold of the probability, as segmentation code has it.

    The mean cross-entropy of the pixels whose true class has a probability below ``threshold``, and
    of the ``min_kept`` hardest pixels of the batch if those are more. All others get no gradient.

    Unlike in the code that it follows, pixels that tie with the last of the ``min_kept`` are kept,
    too, so that a batch of confident pixels gives a loss of 0 and not the mean of nothing.

    Args:
        threshold: in (0, 1], the probability of the true class from which a pixel is easy.
        min_kept: the least number of pixels of the whole batch to keep, at least 1. Batches with
            fewer valid pixels keep all of them. MMSegmentation counts it per image: multiply its
            number by the batch size.
        weight: (C,) factors of the kept losses by class; they do not divide the result, and do not
            decide which pixels are kept.
        ignore_index: target id of ignored pixels; None: all are valid.
        label_smoothing: in [0, 1], as in torch; it does not decide which pixels are kept.
        pool: mine the "batch" of each process, or the batches of all of them together ("world"):
            then every process must call the loss on as many pixels, and the mean of their values is
            the loss, as the mean of their gradients, which DDP takes, is its gradient.

    Shapes:
        input: logits (B, C, *spatial) or (N, C), any floating dtype. target: (B, *spatial) or
        (B, 1, *spatial) class ids. Low-resolution logits are upsampled.

    Raises:
        ValueError, TypeError: parameters or tensors that do not fit; on the CPU also labels outside
            [0, C), which make the loss NaN on a GPU.

    Example:
        >>> criterion = OHEMCrossEntropyLoss(min_kept=100, ignore_index=255)
        >>> loss = criterion(torch.randn(2, 5, 16, 16), torch.randint(0, 5, (2, 16, 16)))

    References:
        Shrivastava, Gupta, Girshick 2016 (the idea, for boxes); the pixel losses of HRNet and
        PIDNet, and OHEMPixelSampler of MMSegmentation (this rule).
    """

    weight: Tensor | None

    def __init__(
        self,
        threshold: float = 0.7,
        min_kept: int = 100_000,
        *,
        weight: Weight = None,
        ignore_index: int | None = -100,
        label_smoothing: float = 0.0,
        pool: Literal["batch", "world"] = "batch",
    ) -> None:
        super().__init__()
        check_choice("pool", pool, ("batch", "world"))
        self.pool = pool
        if not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
            raise ValueError(
                f"threshold must be a probability in (0, 1], got {threshold!r}: pixels below it "
                "are hard; 0.7 is the usual choice."
            )
        check_count("min_kept", min_kept, "pixels")
        check_cross_entropy(ignore_index, label_smoothing)
        self.threshold, self.min_kept = threshold, min_kept
        self.register_buffer("weight", as_weight("weight", weight))
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of the hard pixels of logits (B, C, ...) and target (B, ...)."""
        check_logits(input, self.weight, by_image=False)
        check_tensor("target", target)
        if holds_probabilities(input, target):
            raise ValueError(
                f"target has shape {tuple(target.shape)} and dtype {target.dtype}, which means "
                "probabilities: mining needs the true class of each pixel, pass target.argmax(1)."
            )
        ignored = NO_LABEL if self.ignore_index is None else self.ignore_index
        labels = class_ids(input, target, ignored).long()
        if may_look(labels):
            refuse_unknown_labels(labels, input.shape[1], ignored)
        scores = input if input.dtype in (torch.float32, torch.float64) else input.float()
        scores = upsample_to(scores, labels.shape[1:])
        valid = exists(labels, ignored)
        unknown = valid & ((labels < 0) | (labels >= input.shape[1]))
        labels = labels.masked_fill(~valid | unknown, 0)
        if self.ignore_index is not None:
            # NaN at an ignored pixel would make the gradient NaN, because 0 * NaN is NaN.
            scores = scores.masked_fill(~valid.unsqueeze(1), 0)
        losses = F.cross_entropy(scores, labels, reduction="none").masked_fill(unknown, torch.nan)
        over = ranks(self.pool == "world")
        kept = _hard(losses.detach(), valid, self.threshold, self.min_kept, over)
        if self.weight is not None or self.label_smoothing:
            losses = F.cross_entropy(
                scores,
                labels,
                weight=None if self.weight is None else self.weight.to(scores.dtype),
                reduction="none",
                label_smoothing=self.label_smoothing,
            ).masked_fill(unknown, torch.nan)
        count = over.sum(kept.sum()).clamp(min=1)
        return losses.masked_fill(~kept, 0).sum() * over.size / count

    def extra_repr(self) -> str:
        return f"threshold={self.threshold!r}, min_kept={self.min_kept!r}, pool={self.pool!r}"


class LogitAdjustedLoss(nn.Module):
    r"""Any loss of logits, with the logits raised by the log frequency of their class in training.

    .. math:: \ell(x + \tau \log \pi, y), \quad
        \pi_c = \frac{\text{pixels of } c}{\text{valid pixels}}

    The network need not learn the frequencies, so that its own logits, without the adjustment, are
    balanced: predictions take them as they are. The adjustment comes before the pixel losses, so
    that it can stand before the cross-entropy and before max-pooling alike. Low-resolution logits
    may be upsampled by the loss: a constant per class stays what it is.

    Args:
        criterion: a module or function of logits (B, C, ...) and target.
        class_pixels: (num_images, C) integers, the valid pixels of every class in every training
            image. A class without a pixel counts as one that has a single one.
        tau: strength of the adjustment, at least 0: a plain attribute that may be changed. 1 aims
            at the balanced error, 0 changes nothing.

    Raises:
        TypeError: a criterion that is not callable, or counts that are not integers.
        ValueError: counts of another shape, negative, or all zero; tau that is negative or not
            finite; logits with another number of classes.

    Example:
        >>> counts = torch.tensor([[900, 90, 10], [1000, 0, 0]])
        >>> criterion = LogitAdjustedLoss(MaxPoolingCrossEntropyLoss(), counts)
        >>> loss = criterion(torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8)))

    References:
        Menon, Jayasumana, Rawat, Jain, Veit, Kumar 2021, "Long-Tail Learning via Logit Adjustment",
        Eq. 10.
    """

    log_prior: Tensor

    def __init__(
        self,
        criterion: nn.Module | Callable[[Tensor, Tensor], Tensor],
        class_pixels: ClassPixels,
        *,
        tau: float = 1.0,
    ) -> None:
        super().__init__()
        if not callable(criterion):
            raise TypeError(
                f"criterion must be a module or a function (logits, target) -> loss, got "
                f"{criterion!r}."
            )
        _check_tau(tau)
        pixels = class_counts(class_pixels).sum(0)
        self.criterion = criterion
        self.tau = tau
        self.register_buffer("log_prior", (pixels.clamp(min=1) / pixels.sum()).log().float())

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the criterion's loss of the adjusted logits (B, C, ...)."""
        return self.criterion(self.adjusted(input), target)

    def adjusted(self, input: Tensor) -> Tensor:
        """Return the logits (B, C, ...) that the criterion sees."""
        _check_tau(self.tau)
        check_tensor("input", input)
        classes = self.log_prior.shape[0]
        if input.dim() < 2 or input.shape[1] != classes:
            raise ValueError(
                f"logits have shape {tuple(input.shape)}, but class_pixels counted {classes} "
                "classes: expected (B, C, *spatial) with the same C."
            )
        adjustment = self.tau * self.log_prior.view(-1, *[1] * (input.dim() - 2))
        return input + adjustment

    def extra_repr(self) -> str:
        return f"tau={self.tau!r}"


def _hard(losses: Tensor, valid: Tensor, threshold: float, min_kept: int, over: Ranks) -> Tensor:
    """Mark the valid pixels above the threshold's loss, and at least ``min_kept`` hardest ones."""
    losses = losses.masked_fill(~valid, -1)  # below every loss
    # No number is read from the device: with fewer valid pixels than min_kept, the last is -1.
    highest = losses.flatten().topk(min(min_kept, losses.numel()), sorted=False).values
    if over.size > 1:
        highest = over.gather(highest)
        highest = highest.topk(min(min_kept, highest.numel()), sorted=False).values
    last = highest.amin() if highest.numel() else losses.sum()
    # NaN, which compares as easy, has to come out as NaN.
    return valid & ((losses > -math.log(threshold)) | (losses >= last) | losses.isnan())


def _check_tau(tau: object) -> None:
    if not isinstance(tau, (int, float)) or not 0 <= tau < math.inf:
        raise ValueError(
            f"tau must be a finite number >= 0, got {tau!r}: 1 is the paper's choice, 0 switches "
            "the adjustment off."
        )
