"""Three backends of the same four stages: torch, native (C++), Triton."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from lossmaxpool.ops.weighting_set import WeightingSet


class Kernels(Protocol):
    """The stages of the operator, as every backend's module has them.

    Legend: B images, C classes, R pools (rows of the solver), N losses of a pool. ``packed`` is the
    (6, R) float64 result of :meth:`solve`: value, alpha, cap, tie, num_valid, support of each pool.
    """

    def pixel_losses(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        ignore_index: int,
        label_smoothing: float,
    ) -> Tensor:
        """(B, C, *low) logits, (B, *spatial) class ids -> (B, *spatial) cross-entropies."""

    def solve(
        self, losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool
    ) -> Tensor:
        """(R, N) losses, (R, N) mask -> (6, R) thresholds.

        ``marked``: a negative loss marks a pixel that does not exist; it is an error otherwise.
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
