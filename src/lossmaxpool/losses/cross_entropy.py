"""The pooled cross-entropy that loss max-pooling and bootstrapping share: checks, then kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmaxpool.functional import pool_losses, reduce_pools
from lossmaxpool.losses.options import LabelledLoss
from lossmaxpool.losses.pixel import check_spatial, probability_cross_entropy
from lossmaxpool.ops.fused.choice import choose
from lossmaxpool.ops.fused.operators import PooledCrossEntropy


class PooledCrossEntropyLoss(LabelledLoss):
    """Cross-entropy of every pixel, pooled; its subclasses say with which weighting set."""

    def _pooled(
        self, logits: Tensor, target: Tensor, *, p: float, fraction: float, least: float
    ) -> Tensor:
        """Pool with ``m = clip(fraction * n, least, n)``.

        Args:
            logits: (B, C, *low) unnormalised scores, any floating dtype.
            target: (B, *spatial) class ids, or (B, C, *spatial) probabilities.
            p: norm exponent in [1, inf].
            fraction: m as a share of the valid pixels.
            least: the smallest m.

        Raises:
            TypeError: logits that are not floating, or class ids that are not integers.
            ValueError: shapes that do not match, a weight of another length, or, on the CPU, class
                ids outside [0, C).
            RuntimeError: a backend that cannot run on these tensors.
        """
        _check_logits(logits, self.weight)
        if target.is_floating_point():
            _check_probabilities(logits, target)
            choose(logits, target, self.backend)  # refuses one that has no kernel for them
            losses = probability_cross_entropy(
                logits, target, weight=self.weight, label_smoothing=self.label_smoothing
            )
            return pool_losses(
                losses,
                None,
                p=p,
                fraction=fraction,
                least=least,
                pool=self.pool,
                reduction=self.reduction,
            )
        target = _class_ids(logits, target)
        value, packed, _ = PooledCrossEntropy.apply(
            logits,
            target,
            self.weight,
            self.ignore_index,
            float(self.label_smoothing),
            float(p),
            float(fraction),
            least,
            logits.shape[0] if self.pool == "image" else 1,
            self.pool == "world",
            self.backend,
        )
        return reduce_pools(value, packed, self.reduction)


def _check_logits(logits: Tensor, weight: Tensor | None) -> None:
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating, got {logits.dtype}: pass scores, not labels.")
    if not 2 <= logits.dim() <= 5:
        raise ValueError(
            f"logits must be (B, C, *spatial) with up to three spatial dimensions, "
            f"got shape {tuple(logits.shape)}."
        )
    if weight is not None and weight.shape != (logits.shape[1],):
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}, but the logits have {logits.shape[1]} "
            "classes: one weight per class is expected."
        )


def _check_probabilities(logits: Tensor, target: Tensor) -> None:
    if target.dim() != logits.dim():
        raise TypeError(
            f"target has dtype {target.dtype} and shape {tuple(target.shape)}: expected integer "
            f"class ids (B, *spatial), or probabilities (B, {logits.shape[1]}, *spatial)."
        )


def _class_ids(logits: Tensor, target: Tensor) -> Tensor:
    """Class ids (B, *spatial) that fit the logits; (B, 1, *spatial) loses its channel."""
    if target.dim() == logits.dim() and target.shape[1] == 1:
        target = target.squeeze(1)
    if target.dim() != logits.dim() - 1 or target.shape[:1] != logits.shape[:1]:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, logits {tuple(logits.shape)}: expected "
            "class ids of shape (B, *spatial)."
        )
    if target.dtype == torch.bool:
        target = target.long()
    if target.device != logits.device:
        raise ValueError(
            f"target is on {target.device}, logits are on {logits.device}: move one of them."
        )
    check_spatial(logits.shape[2:], target.shape[1:])
    return target
