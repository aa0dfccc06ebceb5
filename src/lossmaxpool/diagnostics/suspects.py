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
from torch import Tensor, nn

from lossmaxpool.checks import check_count
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


class Cells(NamedTuple):
    """Statistics of the cells of an image, of one visit or of all; each (rows, cols)."""

    seen: Tensor  # visits of valid pixels
    capped: Tensor  # of these, with the cap
    excess: Tensor  # sum of l - alpha* over them
    peak: Tensor  # the largest excess of a pixel so far
    label: Tensor  # int32, that pixel's label


class SuspectedLabels:
    """Collects, over a training or an evaluation, the pixels that carry the cap again and again.

    Images are kept as coarse grids of cells, so that the memory is bounded: ``resolution`` squared
    cells of 20 bytes for each of ``max_images`` at most. Neighboring cells of one label that
    persist form a region; regions are ranked by how far their losses exceed the threshold.

    Collect when the network is good already, in the last epochs or in evaluations of the training
    split: early on, everything is wrong.

    Args:
        resolution: cells along the longer side of an image.
        persistence: the share of visits with the cap from which on a cell is suspected.
        min_visits: visits of an image below which nothing in it is suspected.
        max_images: beyond so many images, the one whose losses exceed the threshold least is
            forgotten.

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
        self,
        *,
        resolution: int = 64,
        persistence: float = 0.5,
        min_visits: int = 1,
        max_images: int = 1000,
    ) -> None:
        check_count("resolution", resolution)
        check_count("min_visits", min_visits)
        check_count("max_images", max_images)
        if not isinstance(persistence, (int, float)) or not 0 < persistence <= 1:
            raise ValueError(
                f"persistence must be a share of the visits in (0, 1], got {persistence!r}."
            )
        self.resolution, self.persistence = resolution, persistence
        self.min_visits, self.max_images = min_visits, max_images
        self._cells: dict[Hashable, Cells] = {}
        self._visits: dict[Hashable, int] = {}
        self._strength: dict[Hashable, float] = {}

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
            places: where each crop lies in its image; None: the batch holds whole images. A crop
                that reaches beyond its image, with pixels there that are not valid, has a place
                that does.
            flipped: which crops show their image mirrored from left to right; None: none does.

        Raises:
            ValueError: a diagnosis without labels or of other than images, another number of
                images, or a place that is none.
        """
        self.add(self.visits(images, diagnosis, places=places, flipped=flipped))

    def visits(
        self,
        images: Sequence[Hashable],
        diagnosis: Diagnosis,
        *,
        places: Sequence[Box] | None = None,
        flipped: Sequence[bool] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[tuple[Hashable, Cells]]:
        """Return what a batch would add, for :meth:`add`: processes exchange it, small as it is.

        Args:
            images: as in :meth:`update`, and so are the next three.
            sizes: height and width of each whole image, for places that are rounded to pixels;
                None: by the size of the crop and its place.
        """
        if diagnosis.labels is None or diagnosis.capped.dim() != 3:
            raise ValueError(
                "suspected labels need a diagnosis of images with labels, (B, H, W), got shape "
                f"{tuple(diagnosis.capped.shape)} and "
                f"{'no ' if diagnosis.labels is None else ''}labels."
            )
        size, H, W = diagnosis.capped.shape
        boxes = [WHOLE] * size if places is None else list(places)
        mirrored = [False] * size if flipped is None else list(flipped)
        named = {"images": images, "places": boxes, "flipped": mirrored}
        for name, given in (named if sizes is None else named | {"sizes": sizes}).items():
            if len(given) != size:
                raise ValueError(f"{name} holds {len(given)} entries for a batch of {size}.")
        maps = torch.stack(
            [diagnosis.valid.float(), diagnosis.capped.float(), diagnosis.excess.float()], 1
        )
        labels = diagnosis.labels.int()
        found: list[tuple[Hashable, Cells]] = []
        for b, (image, box) in enumerate(zip(images, boxes, strict=True)):
            if not (box[0] < box[2] and box[1] < box[3]):
                raise _no_place(box)
            high, wide = H / (box[2] - box[0]), W / (box[3] - box[1])
            grid = self._grid(image, *((high, wide) if sizes is None else sizes[b]))
            turn = [-1] if mirrored[b] else []
            found.append((image, _visit(maps[b].flip(turn), labels[b].flip(turn), box, grid)))
        return found

    def add(self, visits: Sequence[tuple[Hashable, Cells]]) -> None:
        """Add what :meth:`visits` returned, here or in another process."""
        for image, visit in visits:
            cells = self._cells.get(image)
            if cells is not None:
                label = visit.label.where(visit.peak > cells.peak, cells.label)
                peak = torch.maximum(cells.peak, visit.peak)
                seen, capped, excess = (cells[k] + visit[k] for k in range(3))
                visit = Cells(seen, capped, excess, peak, label)
            self._cells[image] = visit
            self._visits[image] = self._visits.get(image, 0) + 1
            self._strength[image] = _strength(visit)
        while len(self._cells) > self.max_images:
            least = min(self._strength, key=self._strength.__getitem__)
            for known in (self._cells, self._visits, self._strength):
                known.pop(least)

    def ranked(self, limit: int | None = None) -> list[Suspect]:
        """Return the regions, the most suspicious first."""
        found = [
            suspect
            for image, cells in self._cells.items()
            if self._visits[image] >= self.min_visits
            for suspect in self._regions(image, cells)
        ]
        found.sort(key=lambda suspect: -suspect.score)  # stable: ties in the order of the images
        return found[:limit]

    def write_csv(self, path: Path | str, limit: int | None = None) -> None:
        """Write the ranked list as a table, one region a row."""
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
            image: Cells(*(x.clone() for x in cells)) for image, cells in state["cells"].items()
        }
        self._visits = dict(state["visits"])
        self._strength = {image: _strength(cells) for image, cells in self._cells.items()}

    def _grid(self, image: Hashable, height: float, width: float) -> tuple[int, int]:
        """The numbers of rows and columns of cells, which never change for an image."""
        if image in self._cells:
            rows, cols = self._cells[image].seen.shape
            return rows, cols
        per_cell = max(height, width) / self.resolution
        rows, cols = (max(1, min(self.resolution, round(x / per_cell))) for x in (height, width))
        return rows, cols

    def _regions(self, image: Hashable, cells: Cells) -> list[Suspect]:
        rows, cols = cells.seen.shape
        seen = cells.seen.clamp(min=1)
        share, excess = cells.capped / seen, cells.excess / seen
        persist = (share >= self.persistence) & (cells.seen > 0) & (cells.label >= 0)
        waiting = {(r, c) for r, c in persist.nonzero().tolist()}
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


def _visit(maps: Tensor, labels: Tensor, box: Box, grid: tuple[int, int]) -> Cells:
    """The cells of a whole image from the maps (3, H, W) and labels (H, W) of one crop.

    Computed where the maps are, in an order that does not depend on chance; returned on the CPU.
    """
    down = _along(labels.shape[0], box[0], box[2])
    across = _along(labels.shape[1], box[1], box[3])
    if min(box) < 0 or max(box) > 1:
        beyond = ((down < 0) | (down > 1)).unsqueeze(1) | (across < 0) | (across > 1)
        if bool((maps[0] * beyond.to(maps.device)).any()):
            raise _no_place(box)
    row, col = (
        (at * n).long().clamp(0, n - 1).to(maps.device)
        for at, n in zip((down, across), grid, strict=True)
    )
    of_row, of_col = (
        nn.functional.one_hot(at, n).to(maps.dtype) for at, n in zip((row, col), grid, strict=True)
    )
    excess = maps[2]
    peak = _largest(excess, row, col, grid)
    highest = (excess == peak[row][:, col]) & (excess > 0)
    label = _largest(labels.where(highest, -1), row, col, grid)
    sums = of_row.T @ maps @ of_col
    known = torch.cat([sums, torch.stack([peak, label.to(peak.dtype)])]).cpu()
    return Cells(known[0], known[1], known[2], known[3], known[4].int())


def _largest(values: Tensor, row: Tensor, col: Tensor, grid: tuple[int, int]) -> Tensor:
    """The largest of the values (H, W) in each cell, at least -1 or 0: one axis after the other."""
    H, W = values.shape
    least = -1 if not values.is_floating_point() else 0
    across = values.new_full((H, grid[1]), least)
    across.scatter_reduce_(1, col.expand(H, W), values, "amax")
    down = values.new_full(grid, least)
    return down.scatter_reduce_(0, row.unsqueeze(1).expand(H, grid[1]), across, "amax")


def _strength(cells: Cells) -> float:
    return float((cells.excess / cells.seen.clamp(min=1)).max())


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


def _along(pixels: int, first: float, last: float) -> Tensor:
    """Where the pixels of a crop from ``first`` to ``last`` of an image lie along one axis."""
    return (torch.arange(pixels, dtype=torch.float64) + 0.5) / pixels * (last - first) + first


def _no_place(box: Box) -> ValueError:
    return ValueError(
        f"a place must be (top, left, bottom, right) in shares of the image, got {box}."
    )
