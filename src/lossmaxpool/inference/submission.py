"""The ids that the servers of Cityscapes expect."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lossmaxpool.data import CITYSCAPES_LABEL_IDS


def cityscapes_submission_ids(ids: Tensor, classes: Sequence[str]) -> Tensor:
    """From a network's class ids to Cityscapes' original label ids, by the classes' names.

    Args:
        ids: (..., H, W) integer class ids, indices into ``classes``.
        classes: names of the network's classes, in order: Cityscapes' 19, whatever their order.

    Returns:
        The same shape, uint8.

    Raises:
        ValueError: the classes are not Cityscapes', or an id is none of theirs.

    Example:
        >>> classes = tuple(CITYSCAPES_LABEL_IDS)
        >>> cityscapes_submission_ids(torch.tensor([[0, 10, 18]]), classes).tolist()
        [[7, 23, 33]]
    """
    check_cityscapes(classes)
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < len(classes):
        raise ValueError(
            f"class ids from {int(ids.min())} to {int(ids.max())}; expected 0 to {len(classes) - 1}"
        )
    table = torch.tensor([CITYSCAPES_LABEL_IDS[name] for name in classes], dtype=torch.uint8)
    return table.to(ids.device)[ids.long()]


def check_cityscapes(classes: Sequence[str]) -> None:
    """Raise unless the classes are Cityscapes' 19, in any order.

    Raises:
        ValueError: naming the classes that are missing or unknown.
    """
    unknown = [name for name in classes if name not in CITYSCAPES_LABEL_IDS]
    missing = [name for name in CITYSCAPES_LABEL_IDS if name not in classes]
    if unknown or missing or len(classes) != len(CITYSCAPES_LABEL_IDS):
        raise ValueError(
            f"the network's {len(classes)} classes are not Cityscapes' 19: "
            f"missing {', '.join(missing) or 'none'}; unknown {', '.join(unknown) or 'none'}"
        )
