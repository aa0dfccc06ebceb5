"""The definition of rare classes, shared by data inspection and reports."""

from __future__ import annotations

from collections.abc import Sequence

# Rare classes together hold at most this share of the labeled pixels.
RARE_SHARE = 0.05


def rare_classes(shares: Sequence[float]) -> tuple[int, ...]:
    """The classes of the long tail, rarest first.

    Args:
        shares: of every class, its share of the labelled pixels; absent classes have 0 and are
            not rare.

    Returns:
        Ids of the least frequent classes that together hold at most ``RARE_SHARE`` of the pixels.

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
