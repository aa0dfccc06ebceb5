"""The pixels of each class of a mask, and which classes are rare.

One definition of both, for the sampler, the inspection of data and the report.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Rare classes together hold at most this share of the labeled pixels.
RARE_SHARE = 0.05


def count_classes(mask: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Count the pixels of every class in a mask, (C,) int64.

    Args:
        mask: (H, W) class ids of any integer dtype.
        num_classes: C.
        ignore_index: Value of the pixels that belong to no class.

    Raises:
        ValueError: The mask does not hold integers, or ids outside [0, C) that are not ignored.
    """
    if not isinstance(mask, Tensor):
        raise ValueError(
            f"a mask must be a tensor (H, W) of integer class ids, got {type(mask).__name__}: "
            "torch.as_tensor(numpy.asarray(mask)) makes one"
        )
    if mask.is_floating_point() or mask.is_complex() or mask.dtype == torch.bool:
        raise ValueError(f"a mask must hold integer class ids, got {mask.dtype}: use mask.long()")
    ids = mask.flatten()
    ids = ids[ids != ignore_index]
    if ids.dtype != torch.uint8:
        ids = ids.long()  # torch does not support min and max of uint16
    if ids.numel() == 0:
        return torch.zeros(num_classes, dtype=torch.int64)
    low, high = (int(bound) for bound in torch.aminmax(ids))
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"a mask holds ids from {low} to {high}; expected 0 to {num_classes - 1}, or "
            f"{ignore_index} for ignored pixels: map its ids, or set ignore_index or num_classes"
        )
    return torch.bincount(ids, minlength=num_classes)


def rare_classes(shares: Sequence[float]) -> tuple[int, ...]:
    """The classes of the long tail, rarest first.

    Args:
        shares: of every class, its share of the labeled pixels; absent classes have 0 and are
            not rare.

    Example:
        >>> rare_classes([0.9, 0.03, 0.06, 0.01, 0.0])
        (3, 1)
    """
    tail: list[int] = []
    held = 0.0
    for c in sorted((c for c, share in enumerate(shares) if share > 0), key=lambda c: shares[c]):
        held += shares[c]
        if held > RARE_SHARE:
            break
        tail.append(c)
    return tuple(tail)
