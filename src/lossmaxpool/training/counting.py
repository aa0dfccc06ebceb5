"""The labelled pixels of a split, counted once and kept where files back the masks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from lossmaxpool.data import SegmentationDataset
from lossmaxpool.runs import TrainingError
from lossmaxpool.sampling import CacheError, ClassIndex, cache_folders, file_fingerprint


def count_pixels(
    dataset: SegmentationDataset, *, beside: Path | None = None, workers: int = 0
) -> Tensor:
    """Return the labelled pixels per image and class, (num_images, C) int64.

    Args:
        dataset: The split.
        beside: The folder of the data set; the counts are kept beside it, under the content of each
            mask file, or in the user's cache where it is read-only. Where neither can be written
            and a mask is in neither, all of them are counted in every run, with a warning.
        workers: Processes that count.

    Raises:
        TrainingError: There is none.
        ValueError: A mask holds ids that are no classes.
    """
    fingerprint = _fingerprint(dataset)
    build = partial(
        ClassIndex.build,
        dataset.mask,
        len(dataset),
        dataset.labels.num_classes,
        fingerprint=fingerprint,
        # Masks that no file backs are drawn here, where a data set that keeps them can do so.
        workers=workers if fingerprint else 0,
        progress=_show if fingerprint else None,
    )
    try:
        pixels = build(cache=cache_folders(beside) if fingerprint else None).counts
    except CacheError as error:
        warnings.warn(
            f"the masks of {dataset.name} are counted in every run: {error}", stacklevel=2
        )
        pixels = build().counts
    if not pixels.any():
        raise TrainingError(
            f"{dataset.name} has no labelled pixel: every one of its {len(dataset)} masks is "
            "ignored; look at them with lossmaxpool inspect"
        )
    return pixels


def _fingerprint(dataset: SegmentationDataset) -> Callable[[int], bytes] | None:
    if len(dataset) == 0 or dataset.mask_file(0) is None:
        return None

    def fingerprint(index: int) -> bytes:
        source = dataset.mask_file(index)
        assert source is not None
        return file_fingerprint(source.path, source.ids)

    return fingerprint


def _show(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rcounting masks: {done}/{total}" + ("\n" if done == total else ""))
