"""Random instances (losses, m) of every family, the same on every run."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tests.cases import LOSS_FAMILIES


def supports(n: int) -> list[float]:
    """From one pixel to all of them, whole and broken numbers."""
    return sorted({1.0, 1 + 0.3 * (n - 1), n / 2 + 0.5, float(n)})


def instances(
    family: str, p: float, sizes: tuple[int, ...] = (1, 2, 5, 12, 1000)
) -> list[tuple[NDArray[np.float64], float]]:
    """Losses of a family, each size with every support; p only picks the random numbers."""
    rng = np.random.default_rng(crc32(f"{family} {p}".encode()))
    return [(LOSS_FAMILIES[family](rng, n), m) for n in sizes for m in supports(n)]
