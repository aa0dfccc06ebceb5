"""The pixels of a class in one mask: how many there are, and a random one."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmaxpool.sampling.seeds import below

Pixel = tuple[int, int]
"""(row, column)"""

# No other draw that is seeded by a crop's seed hashes this.
_PIXEL = -4


def count_classes(mask: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Pixels of every class in a mask, (C,) int64.

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
        ids = ids.long()  # torch finds no extremes of 16-bit unsigned integers
    if ids.numel() == 0:
        return torch.zeros(num_classes, dtype=torch.int64)
    low, high = (int(bound) for bound in torch.aminmax(ids))
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"a mask holds ids from {low} to {high}; expected 0 to {num_classes - 1}, or "
            f"{ignore_index} for ignored pixels: map its ids, or set ignore_index or num_classes"
        )
    return torch.bincount(ids, minlength=num_classes)


def random_pixel(mask: Tensor, class_id: int, seed: int) -> Pixel:
    """A pixel of a class, uniform over all of them; a pure function of its arguments.

    Args:
        mask: (H, W) class ids.
        class_id: The class.
        seed: Decides which pixel.

    Returns:
        (row, column).

    Raises:
        ValueError: The mask does not hold the class.

    Example:
        >>> random_pixel(torch.tensor([[0, 0], [0, 1]]), class_id=1, seed=0)
        (1, 1)
    """
    flat = (mask == class_id).flatten().nonzero().flatten()
    if flat.numel() == 0:
        raise ValueError(
            f"the mask of a drawn image has no pixel of class {class_id}, which the class index "
            "promised: build the index of the data set that is drawn from, with the masks as they "
            "are before any augmentation"
        )
    row, column = divmod(int(flat[below(flat.numel(), seed, _PIXEL)]), mask.shape[1])
    return row, column
