"""Which terms a pixel's loss has."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Terms(NamedTuple):
    """``(1 - s) w_y (lse - x_y) + (s / C) sum_c w_c (lse - x_c)``.

    A term without weight is skipped, not multiplied by 0: logits of -inf are legal in it.
    """

    hard: bool
    smooth: bool
    weighted: bool
    keep: float  # 1 - s
    spread: float  # s / C
    weight_sum: Tensor | None  # () the sum of the class weights, if a term needs it

    @property
    def plain(self) -> bool:
        """The loss is ``lse - x_y``, so that lse need not be computed again."""
        return not (self.smooth or self.weighted)


def terms(label_smoothing: float, classes: int, weight: Tensor | None) -> Terms:
    """Args: the share s that is spread evenly, C, and the (C,) class weights."""
    smooth = label_smoothing != 0
    return Terms(
        hard=label_smoothing != 1,
        smooth=smooth,
        weighted=weight is not None,
        keep=1 - label_smoothing,
        spread=label_smoothing / classes,
        weight_sum=weight.sum() if smooth and weight is not None else None,
    )
