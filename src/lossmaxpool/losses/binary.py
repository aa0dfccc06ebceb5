"""Max-pooled binary cross-entropy: one label, or several per pixel."""

from __future__ import annotations

import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool.checks import options_by_name
from lossmaxpool.functional import Pool, Reduction, weighting_set
from lossmaxpool.losses.max_pooling import LabeledLoss, Weight, as_weight
from lossmaxpool.ops.dispatch import Backend
from lossmaxpool.ops.inputs import check_tensor, exists, may_look, outside_unit_interval
from lossmaxpool.ops.upsampling import upsample_to


class MaxPoolingBCEWithLogitsLoss(LabeledLoss):
    """Drop-in for ``nn.BCEWithLogitsLoss``: binary and multilabel segmentation.

    Every entry of the logits has its own loss and its own weight; all entries of an image, across
    its labels, share one weighting set.

    Args:
        p: norm exponent in [1, inf].
        min_support: m / n in (0, 1], n the number of valid entries of an image.
        weight: factors of the entries' losses, broadcast against the logits.
        pos_weight: (C,) factor of the positives of each label, as in torch.
        ignore_index: target value of ignored entries; None: all are valid. On the CPU, a warning
            is given if every entry of the first batch is 0 or ignored: masks of 0 and 255 with
            ``ignore_index=255`` have no positives.
        label_smoothing: moves targets towards 1/2, in [0, 1].
        pool: "image", "batch" or "world".
        reduction: "mean", "sum" or "none" (one value per image).
        backend: "auto" or "torch". Both compute the pixel losses with torch operations; "auto"
            pools them with the fastest solver.

    Shapes:
        input: logits (B, C, *spatial) or (B, *spatial); (N,) or (N, 1) with ``pool="batch"`` or
        "world". target: of the same shape, or (B, *spatial) for C = 1; 0/1 of any dtype, or
        probabilities. Low-resolution logits are upsampled.

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

    pos_weight: Tensor | None

    @options_by_name("self")
    def __init__(
        self,
        *,
        p: float = 1.3,
        min_support: float = 0.25,
        weight: Weight = None,
        pos_weight: Weight = None,
        ignore_index: int | None = -100,
        label_smoothing: float = 0.0,
        pool: Pool = "image",
        reduction: Reduction = "mean",
        backend: Backend = "auto",
    ) -> None:
        weighting_set(p, min_support)
        super().__init__(weight, ignore_index, label_smoothing, pool, reduction, backend)
        if backend in ("native", "triton"):
            raise RuntimeError(
                f'backend="{backend}" cannot run: binary pixel losses are computed by torch\'s own '
                'operations. Use "auto" or "torch".'
            )
        self.p, self.min_support = p, min_support
        self.register_buffer("pos_weight", as_weight("pos_weight", pos_weight))
        self._looked_for_positives = False

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the pooled binary cross-entropy of logits and 0/1 targets."""
        return self._pooled(*self._losses(input, target))

    @torch.no_grad()
    def pixel_losses(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the losses (B, ...) that :meth:`forward` pools, detached, and their mask."""
        return self._losses(input, target)

    def _losses(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        check_tensor("input", input)
        check_tensor("target", target)
        if not input.is_floating_point():
            raise TypeError(f"logits must be floating, got {input.dtype}.")
        if self.pool == "image" and input.dim() in (1, 2) and math.prod(input.shape[1:]) == 1:
            n = input.shape[0]
            raise ValueError(
                f"logits have shape {tuple(input.shape)} and no spatial dimension: every entry "
                "would be an image of its own, and the result the plain binary cross-entropy. Pass "
                f'pool="batch" to pool all of them together, or logits of shape (1, {n}) for one '
                "image, (B, *spatial) for several."
            )
        scores, labels, valid = self._matched(input, target)
        pos_weight = None
        if self.pos_weight is not None:
            pos_weight = _per_label(self.pos_weight.to(scores.dtype), scores)
        losses = F.binary_cross_entropy_with_logits(
            scores,
            labels,
            weight=None if self.weight is None else self.weight.to(scores.dtype),
            pos_weight=pos_weight,
            reduction="none",
        )
        return losses, valid

    def _matched(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores in at least float32, smoothed labels of the same shape and dtype, and the mask."""
        if logits.dim() == target.dim() + 1 and logits.shape[1] == 1:
            target = target.unsqueeze(1)
        if logits.dim() != target.dim() or logits.shape[:1] != target.shape[:1]:
            raise ValueError(
                f"target has shape {tuple(target.shape)}, logits {tuple(logits.shape)}: one 0/1 "
                "label per score is expected, (B, *spatial) or (B, C, *spatial)."
            )
        if target.device != logits.device:
            raise ValueError(
                f"target is on {target.device}, logits are on {logits.device}: move one of them."
            )
        scores = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
        if scores.shape != target.shape:
            if scores.dim() < 3 or scores.shape[1] != target.shape[1]:
                raise ValueError(
                    f"target has shape {tuple(target.shape)}, logits {tuple(logits.shape)}: only "
                    "spatial dimensions behind (B, C) may differ, to be upsampled."
                )
            scores = upsample_to(scores, target.shape[2:])
        valid, labels = None, target.to(scores.dtype)
        if self.ignore_index is not None:
            valid = exists(target, self.ignore_index)
            # Mask the scores too: a NaN there would make the gradient NaN, because 0 * NaN is NaN.
            scores, labels = scores.masked_fill(~valid, 0), labels.masked_fill(~valid, 0)
            self._warn_without_positives(labels, valid)
        outside = outside_unit_interval(labels)
        if outside is not None:
            raise ValueError(
                f"{int(outside.sum())} of {labels.numel()} binary targets are outside [0, 1], "
                f"e.g. {labels[outside][0].item()!r}: expected 0, 1, a probability, or the "
                f"ignore_index ({self.ignore_index}). Masks saved as 0/255 need a division by 255."
            )
        if self.label_smoothing:
            labels = labels * (1 - self.label_smoothing) + self.label_smoothing / 2
        return scores, labels, valid

    def _warn_without_positives(self, labels: Tensor, valid: Tensor) -> None:
        """Warn once if the first batch with ignored entries holds only zeros otherwise."""
        if self._looked_for_positives or not may_look(labels) or bool(valid.all()):
            return
        self._looked_for_positives = True
        if bool(valid.any()) and not bool(labels.any()):
            warnings.warn(
                f"ignore_index={self.ignore_index} marks {int((~valid).sum())} of {valid.numel()} "
                "binary targets, and all others are 0: this batch has no positive. If "
                f"{self.ignore_index} means foreground in these masks, divide them by "
                f"{self.ignore_index} and pass ignore_index=None.",
                stacklevel=5,
            )


def _per_label(weight: Tensor, scores: Tensor) -> Tensor:
    """(C,) weights aligned with dimension 1 of (B, C, *spatial)."""
    if weight.dim() == 0 or weight.numel() == 1:
        return weight.reshape(())
    if weight.dim() != 1 or scores.dim() < 2 or weight.shape[0] != scores.shape[1]:
        raise ValueError(
            f"pos_weight has shape {tuple(weight.shape)}, logits {tuple(scores.shape)}: one "
            "weight per label (dimension 1 of the logits) is expected."
        )
    return weight.view(-1, *[1] * (scores.dim() - 2))
