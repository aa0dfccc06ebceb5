"""Looks at where the loss of a run puts its weights, every few dozen steps.

A criterion of the package that pools is diagnosed on the crops of its own step, part by part and
process by process: what is logged are means over the pools of all of them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lossmaxpool.atomic import write_atomically
from lossmaxpool.diagnostics import Box, Diagnosis, SuspectedLabels, diagnose
from lossmaxpool.losses import LogitAdjustedLoss
from lossmaxpool.losses.max_pooling import PooledLoss
from lossmaxpool.ops.ranks import ranks
from lossmaxpool.runs.config import TrainConfig
from lossmaxpool.runs.record import SUSPECTS, SuspectLabel, WeightPoint
from lossmaxpool.training.criteria import ImageMeanLoss, WeightedSum, mean_over_ranks
from lossmaxpool.training.loading import Batch


class WeightWatch:
    """The looks at the weights of one run.

    Args:
        criterion: Its criterion; without a part that pools, nothing is ever looked at.
        suspects: Collects the pixels that carry the cap again and again, of all processes.
    """

    def __init__(
        self, config: TrainConfig, criterion: nn.Module, suspects: SuspectedLabels
    ) -> None:
        self.options = config.diagnostics
        self.steps = config.optimization.steps
        self.criterion = criterion
        self.suspects = suspects
        self._found: list[Diagnosis] = []

    def due(self, step: int) -> bool:
        """Whether to look at a step, counted from 1."""
        every = self.options.every
        return every > 0 and step % every == 0 and pools(self.criterion)

    def look(self, logits: Tensor, masks: Tensor, batch: Batch, step: int) -> None:
        """Look at a part of a batch.

        Args:
            logits: (B, C, h, w), detached.
            masks: (B, H, W), padded as the loss saw them.
            step: Of the run, counted from 1.
        """
        found = _diagnose(self.criterion, logits, masks)
        assert found is not None
        self._found.append(found)
        if not self.options.suspects or step < self.options.suspects_after * self.steps:
            return
        H, W = batch["mask"].shape[-2:]
        shown = {
            name: getattr(found, name)[:, :H, :W]
            for name in ("capped", "excess", "valid", "labels")
        }
        places = batch["place"].tolist()
        visits = self.suspects.visits(
            batch["index"].tolist(),
            replace(found, **shown),
            places=[Box(*place[:4]) for place in places],
            flipped=[bool(place[4]) for place in places],
            sizes=[(int(place[5]), int(place[6])) for place in places],
        )
        for each in ranks(True).each(visits):
            self.suspects.add(each)

    def point(self, step: int) -> WeightPoint:
        """Return the means of what was seen since the last point; every process must call it."""
        sums = sum(_sums(found) for found in self._found)
        assert isinstance(sums, Tensor)
        self._found = []
        count, *means = mean_over_ranks(sums).tolist()
        threshold, *shares = (mean / max(count, 1e-12) for mean in means)
        capped, support, *by_class = (round(min(share, 1.0), 6) for share in shares)
        half = len(by_class) // 2
        return WeightPoint(
            step=step,
            threshold=float(f"{threshold:.6g}"),
            capped_share=capped,
            effective_support=support,
            class_mass=by_class[:half],
            class_share=by_class[half:],
        )


def scalars(point: WeightPoint, classes: Sequence[str]) -> dict[str, float]:
    """Return a point as loggers take it, with names that all of them accept.

    Example:
        >>> point = WeightPoint(1, 0.2, 0.1, 0.5, [1.0, 0.0], [1.0, 0.0])
        >>> list(scalars(point, ["road", "a <&> b"]))[3:]
        ['weights/mass 0 road', 'weights/mass 1 a ___ b']
    """
    names = (re.sub(r"[^\w. -]", "_", name) for name in classes)
    return {
        "weights/threshold": point.threshold,
        "weights/capped_share": point.capped_share,
        "weights/effective_support": point.effective_support,
    } | {
        f"weights/mass {c} {name}": mass
        for c, (name, mass) in enumerate(zip(names, point.class_mass, strict=True))
    }


def pools(criterion: nn.Module) -> bool:
    """Whether a criterion has a part whose weights can be diagnosed."""
    return any(isinstance(part, PooledLoss) for part in criterion.modules())


def write_suspects(folder: Path, suspects: Sequence[SuspectLabel]) -> None:
    """Write ``suspects.csv``: a line per region, with the file of its picture."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    head = ("label", "predicted", "score", "persistence", "picture")
    out.writerow(["rank", "image", *Box._fields, *head])
    for rank, one in enumerate(suspects, 1):
        box = (f"{share:.6g}" for share in one.box)
        out.writerow([rank, one.name, *box, *(getattr(one, key) for key in head)])
    write_atomically(folder / SUSPECTS, text.getvalue().encode())


def _diagnose(criterion: nn.Module, logits: Tensor, target: Tensor) -> Diagnosis | None:
    """The diagnosis of the first part of a criterion that pools; None if there is none."""
    if isinstance(criterion, PooledLoss):
        return diagnose(criterion, logits, target)  # type: ignore[arg-type]
    if isinstance(criterion, ImageMeanLoss):
        return _diagnose(criterion.per_image, logits, target)
    if isinstance(criterion, LogitAdjustedLoss) and isinstance(criterion.criterion, nn.Module):
        return _diagnose(criterion.criterion, criterion.adjusted(logits), target)
    if isinstance(criterion, WeightedSum):
        return next((_diagnose(p, logits, target) for p in criterion.parts if pools(p)), None)
    return None


def _sums(found: Diagnosis) -> Tensor:
    """The number of pools with a valid pixel, and sums over these of all that is averaged."""
    assert found.class_mass is not None
    assert found.class_share is not None
    exist = (found.num_valid > 0).to(found.threshold.dtype).unsqueeze(1)
    values = torch.stack([found.threshold, found.capped_share, found.effective_support], 1)
    rows = torch.cat([torch.ones_like(exist), values, found.class_mass, found.class_share], 1)
    return (rows * exist).sum(0)
