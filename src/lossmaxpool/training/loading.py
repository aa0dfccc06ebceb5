"""The images of a run: kept in memory, counted by class, and loaded as batches of crops."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from lossmaxpool.data import AugmentedDataset, Sample, SegmentationDataset, TrainTransform
from lossmaxpool.processes import begin_worker
from lossmaxpool.runs import TrainingError
from lossmaxpool.runs.config import HardwareConfig, TrainConfig
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.sampling import (
    CacheError,
    ClassIndex,
    PerformanceSampler,
    cache_folders,
    file_fingerprint,
)

RGB = tuple[float, float, float]
Batch = dict[str, Tensor]
# A smaller share of the time is not worth a message.
_SHARE = 0.2
# Batches that are measured. Not all of them: on a GPU, measuring means waiting for it.
_BATCHES = 50


class CachedDataset(SegmentationDataset):
    """A data set that keeps every sample in memory from its first use on.

    Counting the pixels of the classes, before any worker is forked, fills it: the workers share
    the memory. Its masks are therefore counted in every run, as if no file backed them.
    """

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset
        self.name = dataset.name
        self.labels = dataset.labels
        self._samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._samples:
            self._samples[index] = self.dataset[index]
        return self._samples[index]

    def mask(self, index: int) -> Tensor:
        return self[index].mask

    def sample_name(self, index: int) -> str:
        return self.dataset.sample_name(index)


def count_pixels(
    dataset: SegmentationDataset, *, beside: Path | None = None, workers: int = 0
) -> Tensor:
    """Return the labeled pixels per image and class, (num_images, C) int64.

    Args:
        beside: The folder of the data set; the counts are kept beside it, under the content of each
            mask file, or in the user's cache where it is read-only. Where neither can be written
            and a mask is in neither, all of them are counted in every run, with a warning.

    Raises:
        TrainingError: There is none.
        ValueError: A mask holds ids that are not classes.
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
            f"{dataset.name} has no labeled pixel: every one of its {len(dataset)} masks is "
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


def training_batches(
    config: TrainConfig,
    dataset: SegmentationDataset,
    sampler: PerformanceSampler,
    mean: RGB,
    std: RGB,
) -> Iterator[Batch]:
    """Return the parts of the batches from the sampler's step to the last one of the run.

    Returns:
        The items of :class:`~lossmaxpool.data.AugmentedDataset`: ``image`` (B, 3, h, w) float32,
        ``mask`` (B, h, w) int64, ``index`` (B,) int64 and ``place`` (B, 7) float32, on the CPU.
    """
    optimization, workers = config.optimization, config.hardware.workers
    transform = TrainTransform(
        crop_size=optimization.crop_size,
        scale_range=optimization.scale_range,
        flip=optimization.flip,
        color_jitter=optimization.color_jitter,
        hue_jitter=optimization.hue_jitter,
        mean=mean,
        std=std,
    )
    loader: DataLoader[Any] = DataLoader(
        AugmentedDataset(dataset, transform),
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=begin_worker,
    )
    return iter(loader)


class LoaderWatch:
    """Measures how long the first batches wait for their crops, and says so where it is long.

    The first batch of a session, for which the workers start, and evaluations do not count.

    Args:
        record: The record that gets the share of the time, ``waiting``.
    """

    def __init__(
        self, record: RunRecord, hardware: HardwareConfig, console: Console | None
    ) -> None:
        self.record = record
        self.hardware = hardware
        self.console = console
        self._batches = 0
        self._waited = 0.0
        self._computed = 0.0
        self._since: float | None = None

    def arrived(self) -> None:
        """Note that a batch has come; the time since the last computation was spent waiting."""
        now = time.perf_counter()
        if self._since is not None and self._batches < _BATCHES:
            self._waited += now - self._since
        self._since = now

    def computed(self, device: torch.device) -> None:
        """Note that a batch has been computed on a device."""
        if self._batches == _BATCHES:
            return
        if device.type == "cuda":
            # Its queued work is computation, however long the next batch takes to come.
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        assert self._since is not None
        if self._waited:
            self._batches += 1
            self._computed += now - self._since
            self.record.waiting = round(self._waited / (self._waited + self._computed), 4)
        self._since = now
        if self._batches == _BATCHES:
            self._advise()

    def paused(self) -> None:
        """Leave out the time up to now: it was spent on records, pictures or an evaluation."""
        if self._since is not None:
            self._since = time.perf_counter()

    def _advise(self) -> None:
        share = self.record.waiting
        if share is None or share < _SHARE or self.console is None:
            return
        waited = self._waited / self._batches
        batch = waited + self._computed / self._batches
        advice = f"raise hardware.workers, now {self.hardware.workers}"
        if not self.hardware.cache:
            advice += ", or set hardware.cache if the images fit into memory"
        self.console.print(
            f"loading is the bottleneck: a batch waits {waited:.2g} s of its {batch:.2g} s "
            f"({share:.0%}) for its images; {advice}",
            highlight=False,
            soft_wrap=True,
        )
