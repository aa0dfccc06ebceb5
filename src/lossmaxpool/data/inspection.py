"""What is in a data set before anything is trained on it: class shares and label problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import torch
from torch import Tensor

from lossmaxpool.data.dataset import SegmentationDataset
from lossmaxpool.data.errors import DataError
from lossmaxpool.data.sample import IGNORE_INDEX, LabelSet, Sample
from lossmaxpool.rarity import rare_classes

_SHOWN = 5
"""How many samples a problem names in the report."""


@dataclass(frozen=True)
class ClassStatistics:
    """Pixels of every class in every image.

    Attributes:
        name: of the data set.
        labels: its classes.
        sample_names: N names.
        pixels: (N, C) int64, pixels of each class in each image.
        ignored: (N,) int64, unlabelled pixels of each image.
    """

    name: str
    labels: LabelSet
    sample_names: tuple[str, ...]
    pixels: Tensor
    ignored: Tensor

    @property
    def class_pixels(self) -> Tensor:
        """(C,) int64, pixels of each class in all images."""
        return self.pixels.sum(0)

    @property
    def shares(self) -> Tensor:
        """(C,) float64, share of each class in the labelled pixels."""
        return self.class_pixels.double() / self.pixels.sum().clamp(min=1)

    @property
    def images(self) -> Tensor:
        """(C,) int64, images in which each class occurs."""
        return (self.pixels > 0).sum(0)

    @property
    def rare(self) -> tuple[int, ...]:
        """Ids of the rare classes, rarest first: together at most a twentieth of the pixels."""
        return rare_classes(self.shares.tolist())

    @property
    def absent(self) -> tuple[int, ...]:
        """Ids of the classes without any pixel."""
        return tuple(c for c, count in enumerate(self.class_pixels.tolist()) if count == 0)


@dataclass(frozen=True)
class Problem:
    """Something to look at before training.

    Attributes:
        severity: "error" where training would stop or be wrong, "warning" where it may be intended.
        message: what it is and what to do.
        samples: the samples concerned, as "split/name".
    """

    severity: Literal["error", "warning"]
    message: str
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """Statistics and problems of one or more splits.

    Attributes:
        statistics: one per split.
        problems: errors first.
    """

    statistics: tuple[ClassStatistics, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return all(problem.severity != "error" for problem in self.problems)


def count_pixels(mask: Tensor, num_classes: int) -> tuple[Tensor, int]:
    """Pixels of each class in one mask.

    Args:
        mask: (H, W) uint8 class ids.
        num_classes: C.

    Returns:
        (C,) int64, and the number of ignored pixels.
    """
    counts = torch.bincount(mask.flatten(), minlength=IGNORE_INDEX + 1)
    return counts[:num_classes], int(counts[IGNORE_INDEX])


def class_statistics(dataset: SegmentationDataset) -> ClassStatistics:
    """Counts the pixels of every class, decoding the masks alone.

    Args:
        dataset: the labelled images.

    Returns:
        Pixels per image and class.

    Raises:
        DataError: at the first mask that cannot be read.

    Example:
        >>> from lossmaxpool.data import StreetScenes
        >>> class_statistics(StreetScenes(num_images=2)).pixels.shape
        torch.Size([2, 12])
    """
    counts = [
        count_pixels(dataset.mask(i), dataset.labels.num_classes) for i in range(len(dataset))
    ]
    names = [dataset.sample_name(i) for i in range(len(dataset))]
    return _statistics(dataset, names, counts)


def inspect_data(*datasets: SegmentationDataset) -> Inspection:
    """Reads every image and every mask and reports what is in them and what is wrong.

    Found are: files that cannot be read, masks of another size than their image, values outside the
    classes, masks without any labelled pixel, classes without any pixel, and the same picture more
    than once, within a split or in two.

    Args:
        *datasets: the splits, training first.

    Returns:
        The statistics of each split over the samples that could be read, and the problems.
    """
    statistics, problems = [], []
    seen: dict[bytes, str] = {}
    for dataset in datasets:
        names, counts, empty = [], [], []
        repeated: dict[str, list[str]] = {"within": [], "across": []}
        for i in range(len(dataset)):
            label = f"{dataset.name}/{dataset.sample_name(i)}"
            try:
                sample = dataset[i]
            except DataError as error:
                problems.append(Problem("error", str(error), (label,)))
                continue
            pixels, ignored = count_pixels(sample.mask, dataset.labels.num_classes)
            names.append(sample.name)
            counts.append((pixels, ignored))
            if int(pixels.sum()) == 0:
                empty.append(label)
            first = seen.setdefault(_digest(sample), label)
            if first != label:
                kind = "within" if first.startswith(f"{dataset.name}/") else "across"
                repeated[kind].append(f"{label} = {first}")
        statistics.append(_statistics(dataset, names, counts))
        problems += _split_problems(statistics[-1], empty, repeated)
    problems += _class_problems(statistics)
    problems.sort(key=lambda problem: problem.severity)
    return Inspection(tuple(statistics), tuple(problems))


def _statistics(
    dataset: SegmentationDataset, names: Sequence[str], counts: Sequence[tuple[Tensor, int]]
) -> ClassStatistics:
    pixels = torch.zeros(len(counts), dataset.labels.num_classes, dtype=torch.int64)
    for row, (count, _) in zip(pixels, counts, strict=True):
        row.copy_(count)
    ignored = torch.tensor([ignored for _, ignored in counts], dtype=torch.int64)
    return ClassStatistics(dataset.name, dataset.labels, tuple(names), pixels, ignored)


def _digest(sample: Sample) -> bytes:
    shape = str(tuple(sample.image.shape)).encode()
    return blake2b(sample.image.numpy().tobytes(), digest_size=16, key=shape).digest()


def _split_problems(
    statistics: ClassStatistics, empty: Sequence[str], repeated: dict[str, list[str]]
) -> list[Problem]:
    name, total = statistics.name, len(statistics.sample_names)
    within, across = repeated["within"], repeated["across"]
    problems = []
    if empty:
        message = (
            f"{len(empty)} of {total} masks of {name} have no labelled pixel: they teach nothing."
        )
        problems.append(Problem("warning", message, tuple(empty)))
    if within:
        message = f"{len(within)} of {total} pictures of {name} occur more than once there."
        problems.append(Problem("warning", message, tuple(within)))
    if across:
        message = (
            f"{len(across)} of {total} pictures of {name} are also in another split: scores on "
            "them say nothing about new pictures. Remove them from one of the two."
        )
        problems.append(Problem("error", message, tuple(across)))
    return problems


def _class_problems(statistics: Sequence[ClassStatistics]) -> list[Problem]:
    problems = []
    for split in statistics:
        if not split.sample_names:
            continue
        names = [split.labels.names[c] for c in split.absent]
        if names:
            message = (
                f"No pixel in {split.name} belongs to: {', '.join(names)}. Such a class cannot be "
                "learnt there, nor scored. If it should be there, check the ids of the masks."
            )
            problems.append(Problem("warning", message))
    return problems


def format_report(inspection: Inspection) -> str:
    """The inspection as a text table, rare classes marked, followed by the problems.

    Args:
        inspection: of one or more splits.
    """
    blocks = [_format_table(split) for split in inspection.statistics]
    if not inspection.problems:
        blocks.append("No problems found.")
    for problem in inspection.problems:
        lines = [f"{problem.severity}: {problem.message}"]
        lines += [f"  - {sample}" for sample in problem.samples[:_SHOWN]]
        if len(problem.samples) > _SHOWN:
            lines.append(f"  ... and {len(problem.samples) - _SHOWN} more")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _format_table(split: ClassStatistics) -> str:
    labelled, ignored = int(split.pixels.sum()), int(split.ignored.sum())
    unlabelled = 100 * ignored / max(labelled + ignored, 1)
    width = max(5, *(len(name) for name in split.labels.names))
    lines = [
        f"{split.name}: {len(split.sample_names)} images, {labelled:,} labelled pixels, "
        f"{unlabelled:.2f} % unlabelled",
        f"{'id':>4}  {'class':<{width}}  {'% of pixels':>11}  {'images':>7}",
    ]
    rows = zip(split.labels.names, split.shares.tolist(), split.images.tolist(), strict=True)
    for c, (name, share, images) in enumerate(rows):
        note = "  rare" if c in split.rare else "  absent" if c in split.absent else ""
        lines.append(f"{c:>4}  {name:<{width}}  {100 * share:>11.3f}  {images:>7}{note}")
    return "\n".join(lines)
