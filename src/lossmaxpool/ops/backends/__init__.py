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


class Prepared(Protocol):
    """A loss of logits of one form, of which nothing but addresses and values is left to know."""

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The reduced value, the (B, *spatial) losses and the (6, R) thresholds."""

    def backward(
        self,
        grad: Tensor,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        losses: Tensor,
        packed: Tensor,
        out: Tensor | None = None,
    ) -> Tensor | None:
        """The gradient of the logits for that of the value; None for tensors of another form.

        It is written to ``out`` as :meth:`Kernels.gradient` says.
        """


class PreparedPool(Protocol):
    """The same of pixel losses, of any shape, whose pools are R consecutive parts of one size."""

    def forward(self, losses: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """The reduced value and the (6, R) thresholds."""

    def backward(
        self, grad: Tensor, losses: Tensor, valid: Tensor | None, packed: Tensor
    ) -> Tensor | None:
        """The gradient of the losses for that of the value; None for tensors of another form."""


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
        """The threshold and the value of every pool.

        Args:
            losses: (R, N). A NaN, an infinity or a negative among the valid ones makes the pool's
                value NaN.
            valid: (R, N) bool, or None if every pixel is valid.
            weighting: the weighting set.
            marked: a negative loss marks an ignored pixel.

        Returns:
            (6, R) float64: value, alpha, cap, tie, num_valid, support.
        """

    def weigh(
        self, losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet
    ) -> Tensor:
        """The weights w* of losses once their thresholds are known.

        Returns:
            (R, N), 0 where a pixel is not valid, NaN in pools whose value is NaN.
        """

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
        out: Tensor | None = None,
    ) -> Tensor:
        """The gradient of the values with respect to the logits.

        Args:
            grad_value: (R,) the gradient with respect to the values. R divides B; a pool is B / R
                consecutive images.
            logits: as given to :meth:`pixel_losses`, and so are the next two and the options.
            target: class ids.
            weight: class weights, or None.
            losses: (B, *spatial) result of :meth:`pixel_losses`.
            packed: (6, R) result of :meth:`solve`.
            ignore_index: the id of ignored pixels: their gradient is exactly 0.
            label_smoothing: in [0, 1].
            weighting: the weighting set.
            out: where to write it, in shape, dtype and strides of the result; None: new memory.
                Logits of the target's size may be overwritten by their gradient.

        Returns:
            In the shape, dtype and memory format of the logits.
        """

    def prepare(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        ignore_index: int,
        label_smoothing: float,
        weighting: WeightingSet,
        pools: int,
        reduction: str,
    ) -> Prepared | None:
        """All stages at once, for tensors of this form; None if that would save nothing.

        Args:
            logits: as given to :meth:`pixel_losses`, and so are the next four.
            target: class ids.
            weight: class weights, or None.
            ignore_index: the id of ignored pixels.
            label_smoothing: in [0, 1].
            weighting: the weighting set.
            pools: R, the number of pools of consecutive images.
            reduction: "none", "sum" or "mean" over the pools.
        """

    def prepare_pool(
        self,
        losses: Tensor,
        valid: Tensor | None,
        weighting: WeightingSet,
        pools: int,
        reduction: str,
    ) -> PreparedPool | None:
        """:meth:`solve` and :meth:`weigh` at once, for losses and masks of this form.

        None if that would save nothing. The arguments are those of :meth:`prepare`.
        """
