"""Linear upsampling, in one piece or by strips of output rows, with its transpose.

A strip is interpolated here along its rows (first spatial dimension), because it needs only a few
input rows; torch's kernels interpolate the remaining dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Modes for one to three spatial dimensions: tokens, images, volumes.
_LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
_TRANSPOSES = {
    1: torch.ops.aten.upsample_linear1d_backward,
    2: torch.ops.aten.upsample_bilinear2d_backward,
}


def check_spatial(low: torch.Size, spatial: torch.Size) -> None:
    """Raise for a target to which logits of spatial size ``low`` cannot be upsampled."""
    if len(low) != len(spatial) or any(a > b for a, b in zip(low, spatial, strict=True)):
        raise ValueError(
            f"logits have spatial size {tuple(low)}, target {tuple(spatial)}: they must be equal, "
            "or the logits smaller, to be upsampled bilinearly."
        )


def upsample_to(logits: Tensor, spatial: torch.Size) -> Tensor:
    """Upsample (B, C, *low) linearly to (B, C, *spatial), ``align_corners=False``."""
    low = logits.shape[2:]
    if low == spatial:
        return logits
    check_spatial(low, spatial)
    return F.interpolate(logits, size=spatial, mode=_LINEAR_MODES[len(low)], align_corners=False)


class Rows(NamedTuple):
    """Sources of each output row: ``(1 - fraction) * low[lower] + fraction * low[upper]``."""

    lower: list[int]  # ascending
    upper: list[int]
    fraction: Tensor  # (out,) float, on the logits' device


def source_rows(low: int, out: int, device: torch.device, dtype: torch.dtype) -> Rows:
    """The rule of ``F.interpolate(align_corners=False)`` along one dimension."""

    def position(on: torch.device) -> Tensor:
        row = torch.arange(out, device=on, dtype=dtype)
        return ((row + 0.5) * (low / max(out, 1)) - 0.5).clamp_(min=0)

    # Compute them on the host, for slicing, and on the device: a copy would synchronize.
    lower = position(torch.device("cpu")).long().clamp_(max=low - 1)
    upper = (lower + 1).clamp_(max=low - 1)
    at = position(device)
    return Rows(lower.tolist(), upper.tolist(), at - at.floor())


class Upsampling:
    """Upsamples (b, C, *low) logits to strips of (b, C, *spatial) scores, in at least float32.

    Args:
        low: the logits' spatial size.
        spatial: the target's spatial size, no dimension smaller than in ``low``.
        device: the logits' device.
        dtype: the dtype of the scores.
    """

    def __init__(
        self, low: torch.Size, spatial: torch.Size, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.low, self.spatial, self.dtype = low, spatial, dtype
        self.rows = source_rows(low[0], spatial[0], device, dtype)
        self.same_rows = low[0] == spatial[0]
        self.same_rest = low[1:] == spatial[1:]

    def strip(self, logits: Tensor, start: int, stop: int) -> Tensor:
        """The scores of the output rows ``start`` to ``stop - 1``."""
        if self.same_rows:
            return self._widen(logits[:, :, start:stop].to(self.dtype))
        first, last = self.rows.lower[start], self.rows.upper[stop - 1]
        few = logits[:, :, first : last + 1].to(self.dtype)
        lower = [i - first for i in self.rows.lower[start:stop]]
        upper = [i - first for i in self.rows.upper[start:stop]]
        fraction = self._along_rows(self.rows.fraction[start:stop])
        return self._widen(torch.lerp(_take(few, lower), _take(few, upper), fraction))

    def add_transposed(self, scores_grad: Tensor, low_grad: Tensor, start: int, stop: int) -> None:
        """Add the gradient of the strip ``start:stop`` to its source rows in (b, C, *low)."""
        narrow = self._narrow(scores_grad)
        if self.same_rows:
            low_grad[:, :, start:stop] += narrow
            return
        fraction = self._along_rows(self.rows.fraction[start:stop])
        from_lower, from_upper = narrow * (1 - fraction), narrow * fraction
        # Runs of output rows share a source row. Sums over slices are deterministic, unlike an
        # indexed addition, whose order varies.
        for rows, part in ((self.rows.lower, from_lower), (self.rows.upper, from_upper)):
            for source, begin, end in _runs(rows, start, stop):
                low_grad[:, :, source] += part[:, :, begin - start : end - start].sum(2)

    def _widen(self, rows: Tensor) -> Tensor:
        if self.same_rest:
            return rows
        folded = F.interpolate(
            rows.flatten(0, 1),
            size=self.spatial[1:],
            mode=_LINEAR_MODES[len(self.spatial) - 1],
            align_corners=False,
        )
        return folded.view(*rows.shape[:2], *folded.shape[1:])

    def _narrow(self, scores_grad: Tensor) -> Tensor:
        if self.same_rest:
            return scores_grad
        folded = scores_grad.flatten(0, 1)
        size = [*folded.shape[:2], *self.low[1:]]
        scales = [None] * (len(self.spatial) - 1)
        transpose = _TRANSPOSES[len(scales)]
        narrow: Tensor = transpose(folded, list(self.spatial[1:]), size, False, *scales)
        return narrow.view(*scores_grad.shape[:2], *narrow.shape[1:])

    def _along_rows(self, x: Tensor) -> Tensor:
        return x.view(-1, *[1] * (len(self.spatial) - 1))


def _take(low: Tensor, rows: list[int]) -> Tensor:
    """Select rows of (b, C, rows, ...) by ascending host indices, without copying the indices."""
    parts = [
        low[:, :, source : source + 1].expand(-1, -1, end - begin, *low.shape[3:])
        for source, begin, end in _runs(rows, 0, len(rows))
    ]
    return torch.cat(parts, dim=2)


def _runs(rows: list[int], start: int, stop: int) -> list[tuple[int, int, int]]:
    """Maximal runs of equal entries in ``rows[start:stop]``: (entry, begin, end)."""
    runs = []
    begin = start
    for at in range(start + 1, stop + 1):
        if at == stop or rows[at] != rows[begin]:
            runs.append((rows[begin], begin, at))
            begin = at
    return runs
