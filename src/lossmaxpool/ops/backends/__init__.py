"""The backends torch, native (C++) and Triton, which implement the same four stages."""

from __future__ import annotations

import math
from typing import Protocol

# Not "import torch": importing the submodule of that name would shadow it.
from torch import Tensor, dtype, float32, float64

from lossmaxpool.ops.weighting_set import WeightingSet

# The loss of an ignored pixel. Pixel losses are never negative, so the map of losses also encodes
# which pixels are valid, and no separate mask has to be stored.
IGNORED = -1.0


def wide_float(logits: dtype) -> dtype:
    """The dtype of the losses, at least float32: half precision would lose their small values."""
    return float64 if logits == float64 else float32


def as_pools(losses: Tensor, rows: int) -> Tensor:
    """Reshape (B, *spatial) losses to (rows, N), also if one of the two is 0."""
    return losses.view(rows, losses.numel() // rows if rows else math.prod(losses.shape[1:]))


class Kernels(Protocol):
    """The stages of the operator: the interface of every backend module.

    B images, C classes, R pools (rows of the solver), N losses of a pool. ``packed`` is the (6, R)
    float64 result of :meth:`solve`: value, alpha, cap, tie, num_valid, support of each pool.
    """

    def pixel_losses(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        ignore_index: int,
        label_smoothing: float,
    ) -> Tensor:
        """Cross-entropy of every pixel; logits smaller than the target are upsampled on the fly.

        Args:
            logits: (B, C, *low).
            target: (B, *spatial) class ids.
            weight: (C,) class weights, or None.
            ignore_index: the id of ignored pixels.
            label_smoothing: in [0, 1].

        Returns:
            (B, *spatial) losses >= 0, float64 for float64 logits and else float32: ``IGNORED``
            where the target is ``ignore_index``, NaN where it is not a valid class.
        """

    def solve(
        self, losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool
    ) -> Tensor:
        """(R, N) losses, (R, N) mask -> (6, R) thresholds.

        ``marked``: a negative loss marks an ignored pixel; otherwise it is an error.
        """

    def weigh(
        self, losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet
    ) -> Tensor:
        """(R, N) losses and their thresholds -> (R, N) optimal weights w*."""

    def gradient(
        self,
        grad_value: Tensor,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        losses: Tensor,
        packed: Tensor,
        ignore_index: int,
        label_smoothing: float,
        weighting: WeightingSet,
    ) -> Tensor:
        """(R,) gradient of the values -> gradient of the logits, in their shape and dtype."""
