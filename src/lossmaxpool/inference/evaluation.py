"""Evaluation of a network: one confusion matrix over a data set, and its calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lossmaxpool.data.sample import IGNORE_INDEX, Sample, SegmentationDataset, check_is
from lossmaxpool.inference.tiling import FULL_IMAGE, predict_scores, probabilities
from lossmaxpool.metrics import ConfusionMatrix, ReliabilityBins
from lossmaxpool.models.full_size import predicted_ids
from lossmaxpool.options import InferenceConfig, Precision
from lossmaxpool.processes import begin_worker

Transform = Callable[[Sample], tuple[Tensor, Tensor]]
Progress = Callable[[int, int], None]


def evaluate(
    model: nn.Module,
    dataset: SegmentationDataset,
    transform: Transform,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
    batch_size: int = 4,
    progress: Progress | None = None,
    config: InferenceConfig = FULL_IMAGE,
    *,
    indices: Sequence[int] | None = None,
    workers: int = 0,
    reliability: ReliabilityBins | None = None,
) -> ConfusionMatrix:
    """Predict every image once, at full size, and count the results in a confusion matrix.

    Consecutive images of the same size share a batch, so sizes may differ and nothing is resized.
    The model's mode is restored. Memory is bounded as in :func:`predict_ids`.

    Args:
        model: (B, 3, H, W) -> (B, C, h, w), C the data set's classes; on ``device``.
        dataset: the images.
        transform: Sample -> (image (3, H, W) float32 normalized, mask (H, W) integer class ids).
        device: device on which the network runs.
        precision: of the network's arithmetic.
        batch_size: maximum number of images in a batch.
        progress: called with (images done, images in all) after each batch.
        config: tiles, mirroring, scales.
        indices: the images to evaluate, None for all; processes that share the work sum their
            counts with ``ConfusionMatrix.reduce``.
        workers: number of processes that read images; 0 reads them in this process.
        reliability: bins that count the probabilities as well, of the same number of classes.

    Returns:
        The counts; ``.iou()``, ``.miou()``, ``.pixel_accuracy()``.

    Raises:
        ValueError: the data set is empty, the model's number of classes is not the data set's, or
            the logits are not finite.
        TypeError: a data set of another library; use WrappedDataset.
    """
    check_is(dataset, SegmentationDataset)
    chosen = range(len(dataset)) if indices is None else indices
    if len(chosen) == 0:
        raise ValueError(f"the data set {dataset.name!r} is empty; there is nothing to evaluate")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    matrix = ConfusionMatrix(len(dataset.labels.names), device)
    was_training = model.training
    model.eval()
    done = 0
    try:
        for names, images, masks in batches(dataset, transform, batch_size, chosen, workers):
            masks = masks.to(device)
            ids = torch.empty_like(images[:, 0], dtype=torch.uint8, device=device)
            for rows, columns, scores in predict_scores(
                model,
                images.to(device),
                config,
                precision,
                names=names,
                num_classes=matrix.num_classes,
            ):
                ids[:, rows, columns] = predicted_ids(scores)
                if reliability is not None:
                    part = masks[:, rows, columns]
                    reliability.update(probabilities(scores, config), part, IGNORE_INDEX)
            matrix.update(ids, masks, IGNORE_INDEX)
            done += len(names)
            if progress is not None:
                progress(done, len(chosen))
    finally:
        model.train(was_training)
    return matrix


class _Transformed(Dataset[tuple[str, Tensor, Tensor]]):
    """Name, image and mask by index."""

    def __init__(self, dataset: SegmentationDataset, transform: Transform) -> None:
        self.dataset = dataset
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[str, Tensor, Tensor]:
        sample = self.dataset[index]
        return sample.name, *self.transform(sample)


def batches(
    dataset: SegmentationDataset,
    transform: Transform,
    batch_size: int,
    indices: Sequence[int],
    workers: int,
) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Yield names, images (B, 3, H, W) and masks (B, H, W) of images of one size at a time."""
    names: list[str] = []
    images: list[Tensor] = []
    masks: list[Tensor] = []
    loader = DataLoader(
        _Transformed(dataset, transform),
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=begin_worker,
        # An own generator: a loader would otherwise advance the global one.
        generator=torch.Generator(),
    )
    for name, image, mask in loader:
        if images and (len(images) == batch_size or image.shape != images[0].shape):
            yield names, torch.stack(images), torch.stack(masks)
            names, images, masks = [], [], []
        names.append(name)
        images.append(image)
        masks.append(mask)
    yield names, torch.stack(images), torch.stack(masks)
