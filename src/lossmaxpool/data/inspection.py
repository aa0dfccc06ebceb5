"""Inspection of a data set before training: class shares and label problems."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import torch
from torch import Tensor

from lossmaxpool.classes import count_classes, rare_classes
from lossmaxpool.data.decode import mask_header, stored_with_16_bits
from lossmaxpool.data.files import FileDataset, listed
from lossmaxpool.data.folders import Folders
from lossmaxpool.data.sample import (
    IGNORE_INDEX,
    DataError,
    LabelSet,
    Sample,
    SegmentationDataset,
    check_is,
)

_SHOWN = 5
"""How many samples a problem names in the report."""
_BAR = 24
"""The length of the longest bar of a table."""
DIM = 63
"""Pictures of 14 bits in files of 16 become no brighter than this, of 255."""
_LOOKED_AT = 8
"""How many pictures are decoded before training, to see whether they are of 16 bits."""


@dataclass(frozen=True)
class ClassStatistics:
    """Pixels of every class in every image.

    Attributes:
        name: of the data set.
        labels: its classes.
        sample_names: N names.
        pixels: (N, C) int64, pixels of each class in each image.
        ignored: (N,) int64, unlabeled pixels of each image.
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
        """(C,) float64, share of each class in the labeled pixels."""
        return self.class_pixels.double() / self.pixels.sum().clamp(min=1)

    @property
    def images(self) -> Tensor:
        """(C,) int64, images in which each class occurs."""
        return (self.pixels > 0).sum(0)

    @property
    def rare(self) -> tuple[int, ...]:
        """Ids of the rare classes, rarest first; together they hold at most 5 % of the pixels."""
        return rare_classes(self.shares.tolist())

    @property
    def absent(self) -> tuple[int, ...]:
        """Ids of the classes without pixels."""
        return tuple(c for c, count in enumerate(self.class_pixels.tolist()) if count == 0)


@dataclass(frozen=True)
class Problem:
    """A problem found by the inspection.

    Attributes:
        severity: "error" if training would fail or be wrong, "warning" if it may be intended.
        message: the problem and how to fix it.
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


def class_statistics(dataset: SegmentationDataset) -> ClassStatistics:
    """Count the pixels of every class; decodes only the masks.

    Args:
        dataset: the labeled images.

    Returns:
        Pixels per image and class.

    Raises:
        DataError: a mask cannot be read.

    Example:
        >>> from lossmaxpool.data import StreetScenes
        >>> class_statistics(StreetScenes(num_images=2)).pixels.shape
        torch.Size([2, 12])
    """
    check_is(dataset, SegmentationDataset)
    numbers = range(len(dataset))
    return _statistics(dataset, numbers, [_count(dataset, dataset.mask(i)) for i in numbers])


def _count(dataset: SegmentationDataset, mask: Tensor) -> tuple[Tensor, int]:
    """The pixels of each class, (C,) int64, and the number of unlabeled ones."""
    counts = count_classes(mask, dataset.labels.num_classes, IGNORE_INDEX)
    return counts, mask.numel() - int(counts.sum())


def _statistics(
    dataset: SegmentationDataset, indices: Sequence[int], counts: Sequence[tuple[Tensor, int]]
) -> ClassStatistics:
    pixels = torch.zeros(len(counts), dataset.labels.num_classes, dtype=torch.int64)
    for row, (count, _) in zip(pixels, counts, strict=True):
        row.copy_(count)
    ignored = torch.tensor([ignored for _, ignored in counts], dtype=torch.int64)
    names = tuple(map(dataset.sample_name, indices))
    return ClassStatistics(dataset.name, dataset.labels, names, pixels, ignored)


def inspect_data(*datasets: SegmentationDataset) -> Inspection:
    """Read every image and every mask and report statistics and problems.

    Detects: files that cannot be read, masks whose size differs from their image's, values outside
    the classes, masks of 0 and 255 among masks of 0 and 1, contradictory palettes, pictures that
    are rotated by a tag or nearly black, masks without labeled pixels, classes without pixels, and
    duplicate pictures within a split or across splits.

    Args:
        *datasets: the splits, training first.

    Returns:
        The statistics of each split over its readable samples, and the problems.
    """
    statistics, problems = [], []
    seen: dict[bytes, str] = {}
    for dataset in datasets:
        check_is(dataset, SegmentationDataset)
        split, found = _inspect_split(dataset, seen)
        statistics.append(split)
        problems += found
    problems.sort(key=lambda problem: problem.severity)
    return Inspection(tuple(statistics), tuple(problems))


def _inspect_split(
    dataset: SegmentationDataset, seen: dict[bytes, str]
) -> tuple[ClassStatistics, list[Problem]]:
    """One pass over a split; ``seen`` holds the pictures of the previous splits."""
    name, files = dataset.name, dataset if isinstance(dataset, FileDataset) else None
    problems: list[Problem] = []
    indices: list[int] = []
    counts: list[tuple[Tensor, int]] = []
    empty: list[str] = []
    within: list[str] = []
    across: list[str] = []
    turned: list[str] = []
    wide = brightest = 0
    for i in range(len(dataset)):
        label = f"{name}/{dataset.sample_name(i)}"
        try:
            sample, facts = files.read(i) if files else (dataset[i], None)
        except DataError as error:
            problems.append(Problem("error", str(error), (label,)))
            continue
        indices.append(i)
        counts.append(_count(dataset, sample.mask))
        if int(counts[-1][0].sum()) == 0:
            empty.append(label)
        first = seen.setdefault(_digest(sample), label)
        if first != label:
            (within if first.startswith(f"{name}/") else across).append(f"{label} = {first}")
        if facts is not None and facts.turned:
            turned.append(label)
        if facts is not None and facts.wide:
            wide, brightest = wide + 1, max(brightest, int(sample.image.max()))
    statistics = _statistics(dataset, indices, counts)
    total = len(indices)
    for severity, samples, message in (
        ("warning", empty, f"masks of {name} have no labeled pixel: they teach nothing."),
        ("warning", within, f"pictures of {name} occur more than once there."),
        (
            "error",
            across,
            f"pictures of {name} are also in another split: scores on them say nothing about new "
            "pictures. Remove them from one of the two.",
        ),
        (
            "warning",
            turned,
            f"pictures of {name} are turned upright by their orientation tag; their masks have no "
            "such tag and are left as they are. Check one pair by eye, above all where height and "
            "width are equal or the turn is a half one.",
        ),
    ):
        if samples:
            text = f"{len(samples)} of {total} {message}"
            problems.append(Problem(severity, text, tuple(samples)))  # type: ignore[arg-type]
    if files:
        problems += _dim_pictures(files, wide, brightest)
        problems += _palettes(files, indices, statistics.pixels)
        problems += _two_kinds_of_binary(files, statistics.pixels, statistics.ignored)
    absent = [dataset.labels.names[c] for c in statistics.absent]
    if indices and absent:
        message = (
            f"No pixel in {name} belongs to: {', '.join(absent)}. Such a class cannot be "
            "learnt there, nor scored. If it should be there, check the ids of the masks."
        )
        problems.append(Problem("warning", message))
    return statistics, problems


def check_before_training(dataset: SegmentationDataset, pixels: Tensor) -> None:
    """Check for label problems that would silently spoil training; fast, as it reuses the counts.

    Warns about contradictory palettes and about 16-bit pictures that decode to nearly black.

    Args:
        dataset: the split; only plain folders are checked.
        pixels: (N, C) int64, labeled pixels of each class in each image.

    Raises:
        DataError: some masks hold 0 and 255, others 0 and 1, and the meaning of 255 is not given.
    """
    if not isinstance(dataset, Folders):
        return
    problems = []
    if dataset.ignores_255:
        sizes = torch.tensor([mask_header(pair.mask)[0] for pair in dataset.pairs])
        problems += _two_kinds_of_binary(dataset, pixels, sizes - pixels.sum(1))
    problems += _palettes(dataset, range(len(dataset)), pixels)
    step = max(1, len(dataset) // _LOOKED_AT)
    wide = [i for i in range(0, len(dataset), step) if stored_with_16_bits(dataset.pairs[i].image)]
    brightest = max((int(dataset[i].image.max()) for i in wide), default=0)
    problems += _dim_pictures(dataset, len(wide), brightest)
    for problem in problems:
        named = f" ({listed(problem.samples, _SHOWN)})" if problem.samples else ""
        if problem.severity == "error":
            raise DataError(f"{problem.message}{named}")
        warnings.warn(f"{problem.message}{named}", stacklevel=2)


def _digest(sample: Sample) -> bytes:
    shape = str(tuple(sample.image.shape)).encode()
    return blake2b(sample.image.numpy().tobytes(), digest_size=16, key=shape).digest()


def _two_kinds_of_binary(dataset: FileDataset, pixels: Tensor, ignored: Tensor) -> list[Problem]:
    """Find masks of 0 and 255 among others in which 255 never occurs."""
    zero = dataset.ids.get(0, IGNORE_INDEX)
    if zero == IGNORE_INDEX or not dataset.ignores_255 or not len(pixels):
        return []
    others = pixels.sum(1) - pixels[:, zero]
    if bool(((ignored > 0) & (others > 0)).any()):
        return []  # together with other classes, 255 means "unlabeled"
    black_and_white = ((ignored > 0) & (pixels[:, zero] > 0)).nonzero().flatten().tolist()
    if not black_and_white:
        return []
    message = (
        f"{len(black_and_white)} of {len(pixels)} masks of {dataset.name} hold only 0 and 255, and "
        "the others no 255: binary masks that were saved in two ways. 255 would be read as "
        "unlabeled, and the foreground of these masks would vanish from training. Save all masks "
        'with the ids 0 and 1. If 255 does mean unlabeled, add "ignore": 255 to classes.json.'
    )
    samples = tuple(f"{dataset.name}/{dataset.sample_name(i)}" for i in black_and_white)
    return [Problem("error", message, samples)]


def _palettes(dataset: FileDataset, indices: Sequence[int], pixels: Tensor) -> list[Problem]:
    """Find masks whose palette gives one of their classes another color than earlier masks."""
    file_ids: dict[int, list[int]] = {}
    for file_id, class_id in dataset.ids.items():
        file_ids.setdefault(class_id, []).append(file_id)
    # Skip classes of several ids, which may have several colors.
    single = {c: ids[0] for c, ids in file_ids.items() if len(ids) == 1 and c != IGNORE_INDEX}
    first: dict[int, tuple[bytes, str]] = {}
    example, contradicting = "", []
    for i, counts in zip(indices, pixels, strict=True):
        path = dataset.pairs[i].mask
        palette = None if path.suffix == ".mat" else mask_header(path)[1]
        if palette is None:
            continue
        for c in counts.nonzero().flatten().tolist():
            color = palette[3 * single[c] : 3 * single[c] + 3] if c in single else b""
            if len(color) < 3:
                continue
            seen, where = first.setdefault(c, (color, dataset.sample_name(i)))
            if seen != color:
                name = dataset.labels.names[c]
                example = example or (
                    f"{name} is {tuple(seen)} in {where} and {tuple(color)} in "
                    f"{dataset.sample_name(i)}"
                )
                contradicting.append(f"{dataset.name}/{dataset.sample_name(i)}")
                break
    if not contradicting:
        return []
    message = (
        f"The palettes of {len(contradicting)} masks of {dataset.name} give a class another color "
        f"than the masks before them: {example}. Only the ids count here: where a color means one "
        "class in all files, their ids are wrong. Save the masks with one palette."
    )
    return [Problem("warning", message, tuple(contradicting))]


def _dim_pictures(dataset: FileDataset, wide: int, brightest: int) -> list[Problem]:
    """Find 16-bit files whose pictures use fewer bits."""
    if not wide or brightest > DIM or dataset.image_range is not None:
        return []
    largest = brightest << 8 | 255
    message = (
        f"The pictures of {dataset.name} are stored with 16 bits per channel, but no value is "
        f"above {largest} of 65535: they are read as nearly black. Say which values are black and "
        f"white, as in --data.image_range '[0, {largest}]'."
    )
    return [Problem("warning", message)]


def format_report(inspection: Inspection) -> str:
    """The inspection as text: a table of all splits by class frequency, then the problems.

    Args:
        inspection: of one or more splits.
    """
    blocks = []
    for labels in dict.fromkeys(split.labels for split in inspection.statistics):
        blocks.append(_table([split for split in inspection.statistics if split.labels == labels]))
    if not inspection.problems:
        blocks.append("No problems found.")
    for problem in inspection.problems:
        lines = [f"{problem.severity}: {problem.message}"]
        lines += [f"  - {sample}" for sample in problem.samples[:_SHOWN]]
        if len(problem.samples) > _SHOWN:
            lines.append(f"  ... and {len(problem.samples) - _SHOWN} more")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _table(splits: Sequence[ClassStatistics]) -> str:
    first = splits[0]
    lines = []
    for split in splits:
        labeled, ignored = int(split.pixels.sum()), int(split.ignored.sum())
        unlabeled = 100 * ignored / max(labeled + ignored, 1)
        lines.append(
            f"{split.name}: {len(split.sample_names)} images, {labeled:,} labeled pixels, "
            f"{unlabeled:.2f} % unlabeled"
        )
    width = max(5, *(len(name) for name in first.labels.names))
    titles = [split.name.rpartition("/")[2] for split in splits]
    columns = [max(20, len(title)) for title in titles]
    above = "  ".join(f"{title:>{n}}" for title, n in zip(titles, columns, strict=True))
    heads = "  ".join(f"{'% of pixels  images':>{n}}" for n in columns)
    lines += ["", f"{'':>4}  {'':<{width}}  {above}", f"{'id':>4}  {'class':<{width}}  {heads}"]
    shares = first.shares.tolist()
    longest = max(*shares, 1e-9)
    cells = [(split.shares.tolist(), split.images.tolist()) for split in splits]
    for c in sorted(range(first.labels.num_classes), key=lambda c: -shares[c]):
        numbers = "  ".join(
            f"{f'{100 * share[c]:.3f}  {images[c]:>6}':>{n}}"
            for (share, images), n in zip(cells, columns, strict=True)
        )
        bar = "#" * (max(1, round(_BAR * shares[c] / longest)) if shares[c] else 0)
        without = [title for title, (_, found) in zip(titles, cells, strict=True) if not found[c]]
        notes = ["rare"] if c in first.rare else []
        if without:
            everywhere = len(without) == len(titles)
            notes.append("absent" if everywhere else f"not in {' and '.join(without)}")
        note = ", ".join(notes)
        name = first.labels.names[c]
        lines.append(f"{c:>4}  {name:<{width}}  {numbers}  {bar:<{_BAR}}  {note}".rstrip())
    return "\n".join(lines)
