"""From low-resolution logits to full-size logits or class ids.

Shapes: B images, C classes, (h, w) cells of the logits, (H, W) pixels of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def full_size_logits(network: Callable[[Tensor], Tensor], images: Tensor, stride: int) -> Tensor:
    """Logits at the size of the images.

    Images are padded at the right and bottom with 0, the mean color after normalization, as in
    training crops; the logits are upsampled bilinearly (align_corners=False) to the padded size, in
    float32, and the padding is cropped.

    Args:
        network: (B, 3, H', W') -> (B, C, h, w), for H' and W' multiples of ``stride``.
        images: (B, 3, H, W), normalized.
        stride: from :func:`lossmaxpool.models.input_stride`.

    Returns:
        (B, C, H, W) float32.

    Example:
        >>> import torch
        >>> full_size_logits(torch.nn.AvgPool2d(16), torch.zeros(1, 3, 30, 50), 16).shape
        torch.Size([1, 3, 30, 50])
    """
    H, W = images.shape[-2:]
    padded = F.pad(images, (0, -W % stride, 0, -H % stride))
    size = padded.shape[-2:]
    logits = network(padded).float()
    # Upsample to the padded size, then crop: upsampling to (H, W) would stretch the picture.
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[..., :H, :W]


# Size of the scores of one strip (at least one row); interpolation needs a few times as much.
STRIP_BYTES = 16 * 2**20


# ops/upsampling.py upsamples whole rows to a larger target, with a gradient. Inference needs any
# window at any ratio (tiles, mirrored views, scales, also downsampling), but no gradient.
@dataclass(frozen=True)
class SmallLogits:
    """Logits of an image at the network's resolution, and the position of the image's pixels.

    Pixel y is at row ``(y + 1/2) row_step - 1/2`` of the logits: bilinear upsampling with
    align_corners=False, for any ratio.

    Args:
        values: (B, C, h, w).
        row_step: rows of cells per row of pixels, 1/8 at an output stride of 8.
        column_step: likewise.
        mirrored_width: W where the network saw the image mirrored from left to right, else None.
    """

    values: Tensor
    row_step: float
    column_step: float
    mirrored_width: int | None = None

    def strip(self, rows: range, columns: range) -> Tensor:
        """Upsample a part of the image: (B, C, len(rows), len(columns)) float32."""
        x = torch.arange(columns.start, columns.stop, dtype=torch.float64)
        if self.mirrored_width is not None:
            x = self.mirrored_width - 1 - x
        y = torch.arange(rows.start, rows.stop, dtype=torch.float64)
        cells_y = ((y + 0.5) * self.row_step - 0.5).clamp(0, self.values.shape[-2] - 1)
        cells_x = ((x + 0.5) * self.column_step - 0.5).clamp(0, self.values.shape[-1] - 1)
        # Interpolate columns first, in the few rows of cells that the strip needs.
        first = int(cells_y[0])
        values = self.values[..., first : int(cells_y[-1]) + 2, :].float()
        return _interpolate(_interpolate(values, cells_x, -1), cells_y - first, -2)


def small_logits(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    stride: int,
    scale: float = 1.0,
    mirror: bool = False,
) -> SmallLogits:
    """Apply a network to the images, optionally resized and mirrored, padded to its stride.

    Padding at the right and bottom is 0, the mean color after normalization, as in training crops.

    Args:
        network: (B, 3, H', W') -> (B, C, h, w), for H' and W' multiples of ``stride``.
        images: (B, 3, H, W), normalized.
        stride: from :func:`lossmaxpool.models.input_stride`.
    """
    H, W = images.shape[-2:]
    seen = images
    if scale != 1:
        size = max(1, round(H * scale)), max(1, round(W * scale))
        seen = F.interpolate(seen, size, mode="bilinear", align_corners=False, antialias=True)
    if mirror:
        seen = seen.flip(-1)
    height, width = seen.shape[-2:]
    padded = F.pad(seen, (0, -width % stride, 0, -height % stride))
    values = network(padded)
    return SmallLogits(
        values,
        values.shape[-2] / padded.shape[-2] * (height / H),
        values.shape[-1] / padded.shape[-1] * (width / W),
        W if mirror else None,
    )


def decide(versions: Sequence[SmallLogits], rows: range, columns: range) -> Tensor:
    """The class of each pixel: the largest logit, or mean probability if there are several views.

    Returns:
        (B, len(rows), len(columns)) uint8.
    """
    values = versions[0].values
    ids = torch.empty(len(values), len(rows), len(columns), dtype=torch.uint8, device=values.device)
    for strip, scores in score_strips(versions, rows, columns):
        ids[:, strip.start - rows.start : strip.stop - rows.start] = predicted_ids(scores)
    return ids


def predicted_ids(scores: Tensor) -> Tensor:
    """The class of each pixel, the first of those with the largest score.

    Args:
        scores: (B, C, H, W).

    Returns:
        (B, H, W) int64.
    """
    # On a CPU several times as fast as argmax, unless the classes lie side by side in memory.
    return scores.max(1).indices


def score_strips(
    versions: Sequence[SmallLogits], rows: range, columns: range
) -> Iterator[tuple[range, Tensor]]:
    """Yield the scores of the classes strip by strip, none larger than :data:`STRIP_BYTES`.

    Yields:
        Rows, and (B, C, rows, columns) float32: logits of a single view, mean probabilities of
        several.

    Raises:
        ValueError: there are more classes than uint8 can represent.
    """
    B, C = versions[0].values.shape[:2]
    if C > 256:
        raise ValueError(f"the model gives {C} classes; ids of 8 bits name at most 256")
    height = max(1, STRIP_BYTES // (4 * B * C * len(columns)))
    for start in range(0, len(rows), height):
        strip = rows[start : start + height]
        first, *others = versions
        scores = first.strip(strip, columns)
        if others:
            scores = scores.softmax(1)
            for version in others:
                scores += version.strip(strip, columns).softmax(1)
            scores /= len(versions)
        yield strip, scores


def _interpolate(values: Tensor, positions: Tensor, dim: int) -> Tensor:
    """Linear interpolation along one axis, at float64 positions inside it."""
    lower = positions.floor()
    weight = (positions - lower).float().to(values.device)
    below = lower.long()
    above = (below + 1).clamp(max=values.shape[dim] - 1)
    shape = (-1,) if dim == -1 else (-1, 1)
    return torch.lerp(
        values.index_select(dim, below.to(values.device)),
        values.index_select(dim, above.to(values.device)),
        weight.view(shape),
    )
