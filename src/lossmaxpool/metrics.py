"""Per-class IoU and its mean from one integer confusion matrix.

Counts are summed over the whole data set before dividing: averaging one ratio per image would
give a different and usually higher number.
"""

from __future__ import annotations

import torch
from torch import Tensor


class ConfusionMatrix:
    r"""Pixel counts by true and predicted class, exact in int64.

    .. math:: \mathrm{IoU}_c = \frac{M_{cc}}{\sum_j M_{cj} + \sum_i M_{ic} - M_{cc}}

    where :math:`M_{ij}` is the number of pixels of class *i* predicted as class *j*. Ignored pixels
    are not counted. Add the matrices of disjoint sets of images: ``left + right``.

    Args:
        num_classes: C.
        device: the device of the counts; ``update`` takes tensors on any device.

    Example:
        >>> import torch
        >>> matrix = ConfusionMatrix(2)
        >>> matrix.update(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]]))
        >>> matrix.iou().tolist()
        [0.5, 0.0]

    References:
        Everingham et al. 2010, "The PASCAL Visual Object Classes Challenge", segmentation accuracy.
    """

    counts: Tensor  # (C, C) int64, rows true, columns predicted

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; a confusion matrix needs at least 1")
        self.counts = torch.zeros((num_classes, num_classes), dtype=torch.int64, device=device)

    @classmethod
    def from_counts(cls, counts: Tensor) -> ConfusionMatrix:
        """Build a matrix from counts.

        Args:
            counts: (C, C) integers >= 0, rows true, columns predicted.

        Raises:
            ValueError: not square, not integers, or negative.
        """
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise ValueError(f"counts has shape {tuple(counts.shape)}; expected (C, C)")
        _check_integers("counts", counts)
        if bool((counts < 0).any()):
            raise ValueError(f"counts has negative entries (smallest {int(counts.min())})")
        matrix = cls(counts.shape[0], counts.device)
        matrix.counts += counts
        return matrix

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return self.counts.shape[0]

    def update(self, prediction: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        """Count a batch.

        Args:
            prediction: (B, H, W), or any shape, integer class ids.
            target: the same shape, integer class ids or ``ignore_index``.
            ignore_index: target value of the ignored pixels.

        Raises:
            ValueError: the shapes differ, a dtype is not an integer's, or a class id among the
                valid pixels is outside [0, C).
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction has shape {tuple(prediction.shape)} and target {tuple(target.shape)}; "
                "expected the same: upsample the logits to the target's size before the argmax"
            )
        _check_integers("prediction", prediction)
        _check_integers("target", target)
        valid = target != ignore_index
        # One int64 code per pixel, on the device of the counts; int64 sums cannot overflow.
        true = target[valid].to(self.counts.device, torch.int64)
        predicted = prediction[valid].to(self.counts.device, torch.int64)
        self._check_range("target", true, f", or {ignore_index} for ignored pixels")
        self._check_range("prediction", predicted, "")
        C = self.num_classes
        self.counts += torch.bincount(true * C + predicted, minlength=C * C).view(C, C)

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        if other.num_classes != self.num_classes:
            raise ValueError(
                f"cannot add the confusion matrices of {self.num_classes} and "
                f"{other.num_classes} classes"
            )
        return ConfusionMatrix.from_counts(self.counts + other.counts.to(self.counts.device))

    def __repr__(self) -> str:
        return (
            f"ConfusionMatrix(num_classes={self.num_classes}, {int(self.counts.sum()):,} pixels, "
            f"mIoU {100 * self.miou():.1f} %)"
        )

    def reduce(self) -> ConfusionMatrix:
        """The sum over all ranks of the default process group; a copy if there is no group.

        The counts must be on a device that the group's backend supports.
        """
        total = ConfusionMatrix.from_counts(self.counts)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(total.counts)
        return total

    def iou(self) -> Tensor:
        """Intersection over union, (C,) float64.

        NaN for a class that is in neither truth nor prediction; 0 for one that is predicted but
        absent from the truth.
        """
        hits = self.counts.diagonal()
        union = self.counts.sum(1) + self.counts.sum(0) - hits
        return hits.double() / union.double()  # 0 / 0 is NaN

    def miou(self) -> float:
        """Mean of the defined entries of :meth:`iou`; NaN before any valid pixel.

        A class absent from truth and prediction is left out; one that is absent from the truth but
        predicted counts as 0.
        """
        return float(self.iou().nanmean())

    def recall(self) -> Tensor:
        """Recall: correct share of each class's true pixels, (C,) float64; NaN without any."""
        return self.counts.diagonal().double() / self.counts.sum(1).double()

    def precision(self) -> Tensor:
        """Precision: correct share of each class's predictions, (C,) float64; NaN without any."""
        return self.counts.diagonal().double() / self.counts.sum(0).double()

    def dice(self) -> Tensor:
        """Dice coefficient (F1): 2 hits / (true + predicted pixels), (C,) float64.

        NaN where a class is in neither truth nor prediction.
        """
        total = self.counts.sum(1) + self.counts.sum(0)
        return 2 * self.counts.diagonal().double() / total.double()

    def pixel_accuracy(self) -> float:
        """Share of the valid pixels that are classified correctly; NaN before any valid pixel."""
        return float(self.counts.diagonal().sum().double() / self.counts.sum().double())

    def _check_range(self, name: str, ids: Tensor, also: str) -> None:
        if ids.numel() == 0:
            return
        low, high = (int(bound) for bound in torch.aminmax(ids))
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"{name} has class ids from {low} to {high}; expected 0 to "
                f"{self.num_classes - 1}{also}"
            )


def _check_integers(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"{name} has dtype {tensor.dtype}; expected integer class ids")
