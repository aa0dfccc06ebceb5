"""Images, label maps and weights as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from lossmaxpool.atomic import write_atomically
from lossmaxpool.data import IGNORE_INDEX, Sample

# The grey image lies dimmed under the heat map, never to be mistaken for heat, and shows through
# the greatest heat, to be recognised.
_DIMMED = 0.45
_OPACITY = 0.8


def evenly_spaced(length: int, count: int) -> list[int]:
    """Return the middles of ``count`` equal parts of a split: video frames apart in time.

    Example:
        >>> evenly_spaced(100, 4)
        [12, 37, 62, 87]
    """
    count = min(length, count)
    return [(2 * k + 1) * length // (2 * count) for k in range(count)]


def paint(mask: Tensor, colors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Return a mask (H, W) as RGB (H, W, 3) uint8; what is ignored is black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(colors)] = colors
    painted: np.ndarray = table[mask.numpy()]
    return painted


def views(
    sample: Sample, ids: Tensor, colors: Sequence[tuple[int, int, int]]
) -> dict[str, np.ndarray]:
    """Return the image, its truth and its prediction, RGB (H, W, 3) uint8.

    Args:
        sample: The image and its mask.
        ids: The predicted classes (H, W); what is not labelled stays black there, too.
        colors: Of the classes.
    """
    return {
        "image": sample.image.permute(1, 2, 0).numpy(),
        "truth": paint(sample.mask, colors),
        "prediction": paint(ids.where(sample.mask != IGNORE_INDEX, IGNORE_INDEX), colors),
    }


def heat_map(sample: Sample, weights: Tensor) -> np.ndarray:
    """Return weights (H, W) in [0, 1] as heat over the dimmed grey image, RGB (H, W, 3) uint8."""
    grey = sample.image.float().mean(dim=0).numpy()[..., None] / 255 * _DIMMED
    heat = _OPACITY * weights.numpy()[..., None]
    color = colormaps["inferno"](weights.numpy())[..., :3]
    blended: np.ndarray = (255 * ((1 - heat) * grey + heat * color)).astype(np.uint8)
    return blended


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write RGB pixels (H, W, 3) uint8, whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    write_atomically(path, buffer.getvalue())
