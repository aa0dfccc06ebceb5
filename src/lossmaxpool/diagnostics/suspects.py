"""Labels that loss max-pooling says are wrong.

The operator puts the largest weight on the pixels of the highest loss. Late in a training, these
are the hard ones and the mislabeled ones; a region that carries the cap again and again while the
network is sure of something else is a label to look at.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossmaxpool.diagnostics.diagnosis import Diagnosis

# Of a pixel: shares of an image are rounded.
_ROUNDING = 1e-6


class Box(NamedTuple):
    """A rectangle of an image in shares of its height and width: all of it is (0, 0, 1, 1)."""

    top: float
    left: float
    bottom: float
    right: float

    def cut(self, image: Tensor, *, margin: float = 0.5) -> Tensor:
        """Return the rectangle of an image (..., H, W) with a margin, in shares of its size."""
        H, W = image.shape[-2:]
        above, beside = margin * (self.bottom - self.top), margin * (self.right - self.left)
        top, bottom = max(self.top - above, 0.0), min(self.bottom + above, 1.0)
        left, right = max(self.left - beside, 0.0), min(self.right + beside, 1.0)
        return image[..., _pixels(top, bottom, H), _pixels(left, right, W)]


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


class Suspect(NamedTuple):
    """A region whose label is suspected to be wrong.

    Attributes:
        image: the id of the image, as passed to :meth:`SuspectedLabels.update`.
        box: the region, in shares of the image's height and width.
        label: the class that its pixels are labeled with, by those of the highest loss.
        score: how far its losses exceed the threshold, on average over visits, in nats, times the
            square root of its cells.
        persistence: the share of the visits of its pixels in which they carried the cap.
    """

    image: Hashable
    box: Box
    label: int
    score: float
    persistence: float


class _Cells(NamedTuple):
    """What is known of the cells of an image, each (rows, cols)."""

    seen: Tensor  # visits of valid pixels
    capped: Tensor  # of these, with the cap
    excess: Tensor  # sum of l - alpha* over them
    peak: Tensor  # the largest excess of a pixel so far
    label: Tensor  # int64, that pixel's label


class SuspectedLabels:
    """Collects, over a training or an evaluation, the pixels that carry the cap again and again.

    Images are kept as coarse grids of cells, so that the memory is bounded: ``resolution`` squared
    cells of 24 bytes per image at most. Neighboring cells of one label that persist form a region;
    regions are ranked by how far their losses exceed the threshold.

    Collect when the network is good already, in the last epochs or in evaluations of the training
    split: early on, everything is wrong.

    Args:
        resolution: cells along the longer side of an image.
        persistence: the share of visits with the cap from which on a cell is suspected.
        min_visits: visits of an image below which nothing in it is suspected.

    Raises:
        ValueError: options outside their range.

    Example:
        >>> from lossmaxpool.diagnostics import SuspectedLabels, diagnose
        >>> criterion, suspects = MaxPoolingCrossEntropyLoss(), SuspectedLabels(resolution=8)
        >>> target = torch.zeros(1, 32, 32).long()
        >>> logits = 9.0 * nn.functional.one_hot(target, 2).permute(0, 3, 1, 2)
        >>> target[0, 8:16, 24:32] = 1  # the network is sure of class 0
        >>> suspects.update(["a.png"], diagnose(criterion, logits, target))
        >>> suspects.ranked()[0].box
        Box(top=0.25, left=0.75, bottom=0.5, right=1.0)
    """

    def __init__(
        self, *, resolution: int = 64, persistence: float = 0.5, min_visits: int = 1
    ) -> None:
        for name, number in (("resolution", resolution), ("min_visits", min_visits)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {number!r}.")
        if not isinstance(persistence, (int, float)) or not 0 < persistence <= 1:
            raise ValueError(
                f"persistence must be a share of the visits in (0, 1], got {persistence!r}."
            )
        self.resolution, self.persistence, self.min_visits = resolution, persistence, min_visits
        self._cells: dict[Hashable, _Cells] = {}
        self._visits: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """The number of images seen."""
        return len(self._cells)

    def update(
        self,
        images: Sequence[Hashable],
        diagnosis: Diagnosis,
        *,
        places: Sequence[Box] | None = None,
        flipped: Sequence[bool] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            images: an id for each image of the batch, e.g. its index or file name.
            diagnosis: of the batch, with labels, (B, H, W).
            places: where each crop lies in its image; None: the batch holds whole images.
            flipped: which crops show their image mirrored from left to right; None: none does.

        Raises:
            ValueError: a diagnosis without labels or of other than images, another number of
                images, or a place outside of its image.
        """
        if diagnosis.labels is None or diagnosis.capped.dim() != 3:
            raise ValueError(
                "suspected labels need a diagnosis of images with labels, (B, H, W), got shape "
                f"{tuple(diagnosis.capped.shape)} and "
                f"{'no ' if diagnosis.labels is None else ''}labels."
            )
        size = diagnosis.capped.shape[0]
        boxes = [WHOLE] * size if places is None else list(places)
        mirrored = [False] * size if flipped is None else list(flipped)
        for name, given in (("images", images), ("places", boxes), ("flipped", mirrored)):
            if len(given) != size:
                raise ValueError(f"{name} holds {len(given)} entries for a batch of {size}.")
        for box in boxes:
            if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
                raise ValueError(
                    f"a place must be (top, left, bottom, right) in shares of the image, got {box}."
                )
        maps = torch.stack(
            [diagnosis.valid.float(), diagnosis.capped.float(), diagnosis.excess.float()], 1
        ).cpu()
        labels = diagnosis.labels.cpu().long()
        for b, image in enumerate(images):
            if mirrored[b]:
                self._add(image, maps[b].flip(-1), labels[b].flip(-1), boxes[b])
            else:
                self._add(image, maps[b], labels[b], boxes[b])

    def ranked(self, limit: int | None = None) -> list[Suspect]:
        """Return the regions, the most suspicious first.

        Args:
            limit: the number to return; None: all.
        """
        found = [
            suspect
            for image, cells in self._cells.items()
            if self._visits[image] >= self.min_visits
            for suspect in self._regions(image, cells)
        ]
        found.sort(key=lambda suspect: -suspect.score)  # stable: ties in the order of the images
        return found[:limit]

    def write_csv(self, path: Path | str, limit: int | None = None) -> None:
        """Write the ranked list as a table, one region a row.

        Args:
            path: the file to write.
            limit: the number of regions; None: all.
        """
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *Box._fields, "label", "score", "persistence"])
            for image, box, label, score, persistence in self.ranked(limit):
                shares = (f"{share:.6g}" for share in box)
                writer.writerow([image, *shares, label, f"{score:.6g}", f"{persistence:.6g}"])

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs."""
        return {
            "cells": {image: tuple(cells) for image, cells in self._cells.items()},
            "visits": dict(self._visits),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self._cells = {
            image: _Cells(*(x.clone() for x in cells)) for image, cells in state["cells"].items()
        }
        self._visits = dict(state["visits"])

    def _add(self, image: Hashable, maps: Tensor, labels: Tensor, box: Box) -> None:
        H, W = labels.shape
        if image not in self._cells:
            high, wide = H / (box[2] - box[0]), W / (box[3] - box[1])
            per_cell = max(high, wide) / self.resolution
            shape = tuple(max(1, min(self.resolution, round(x / per_cell))) for x in (high, wide))
            nothing = torch.zeros(shape)
            seen, capped, excess, peak = (nothing.clone() for _ in range(4))
            self._cells[image] = _Cells(seen, capped, excess, peak, nothing.long().fill_(-1))
            self._visits[image] = 0
        self._visits[image] += 1
        cells = self._cells[image]
        rows, cols = cells.seen.shape
        row, col = _cells_along(H, rows, box[0], box[2]), _cells_along(W, cols, box[1], box[3])
        at = (row.unsqueeze(1) * cols + col).flatten()
        for into, values in zip(cells[:3], maps, strict=True):
            into.view(-1).index_add_(0, at, values.flatten())
        excess = maps[2].flatten()
        peak = torch.zeros(rows * cols).scatter_reduce_(0, at, excess, "amax")
        highest = (excess == peak[at]) & (excess > cells.peak.view(-1)[at])
        cells.label.view(-1)[at[highest]] = labels.flatten()[highest]
        torch.maximum(cells.peak, peak.view(rows, cols), out=cells.peak)

    def _regions(self, image: Hashable, cells: _Cells) -> list[Suspect]:
        rows, cols = cells.seen.shape
        seen = cells.seen.clamp(min=1)
        share, excess = cells.capped / seen, cells.excess / seen
        waiting = {
            (r, c) for r, c in (share >= self.persistence).nonzero().tolist() if cells.seen[r, c]
        }
        found = []
        while waiting:
            start = min(waiting)
            label = int(cells.label[start])
            region = _connected(start, waiting, cells.label)
            waiting -= region
            r, c = torch.tensor(sorted(region)).T
            mean = float(excess[r, c].mean())
            box = Box(
                int(r.min()) / rows,
                int(c.min()) / cols,
                (int(r.max()) + 1) / rows,
                (int(c.max()) + 1) / cols,
            )
            score = mean * len(region) ** 0.5
            found.append(Suspect(image, box, label, score, float(share[r, c].mean())))
        return found


def _pixels(first: float, last: float, size: int) -> slice:
    """The pixels, at least one, that a span in shares touches by more than rounding."""
    start = min(math.floor(first * size + _ROUNDING), size - 1)
    return slice(start, max(math.ceil(last * size - _ROUNDING), start + 1))


def _connected(
    start: tuple[int, int], among: set[tuple[int, int]], label: Tensor
) -> set[tuple[int, int]]:
    """The cells of ``among`` that neighbors of the start's label connect with it."""
    region, border = {start}, [start]
    while border:
        r, c = border.pop()
        for cell in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if cell in among and cell not in region and label[cell] == label[start]:
                region.add(cell)
                border.append(cell)
    return region


def _cells_along(pixels: int, cells: int, first: float, last: float) -> Tensor:
    """The cell of every pixel along one axis of a crop from ``first`` to ``last`` of the image."""
    at = (torch.arange(pixels, dtype=torch.float64) + 0.5) / pixels * (last - first) + first
    return (at * cells).long().clamp(0, cells - 1)
