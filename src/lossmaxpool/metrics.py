"""Per-class IoU from one integer confusion matrix, and calibration from integer bins.

Counts are summed over the whole data set before dividing: averaging one ratio per image would
give a different and usually higher number.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

BINS = 15
# Probabilities are added as integers of this unit, that of a float32 below 1: sums of integers do
# not depend on the order of images, on batches or on ranks.
_UNITS = 1 << 24


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
            target: the same shape, integer class ids, or ``ignore_index`` where there is none.

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
        C, device = self.num_classes, self.counts.device
        # One int64 code per pixel, on the device of the counts; int64 sums cannot overflow.
        true, valid = _true_classes(target, ignore_index, C, device)
        predicted = prediction[valid].to(device, torch.int64)
        _check_range("prediction", predicted, C)
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
        _sum_over_ranks(total.counts)
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


class ReliabilityBins:
    r"""Confidence and accuracy of the pixels in 15 bins of equal width, exact sums in int64.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} |\mathrm{accuracy}_b - \mathrm{confidence}_b|

    over the bins b of the largest probability of a pixel, with its mean in the bin as confidence.
    Bin b of 1 to 15 holds the probabilities in ((b - 1) / 15, b / 15], the first one 0 as well.
    Ignored pixels are not counted. The memory does not depend on the number of pixels. Add the bins
    of disjoint sets of images: ``left + right``.

    Args:
        num_classes: C.
        device: the device of the sums; ``update`` takes tensors on any device.

    Example:
        >>> import torch
        >>> bins = ReliabilityBins(2)
        >>> bins.update(torch.tensor([[[0.9, 0.8]], [[0.1, 0.2]]])[None], torch.tensor([[[0, 1]]]))
        >>> round(bins.ece(), 3)  # (|1 - 0.9| + |0 - 0.8|) / 2
        0.45

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", Eq. 3, with their 15 bins; Kull
        et al. 2019, "Beyond temperature scaling", Eq. 2, for the error of each class.
    """

    # (1 + C, 15, 3) int64: pixels, right ones, and the sum of the probabilities in _UNITS; in row 0
    # of the largest probability of a pixel, in row 1 + c of that of class c.
    sums: Tensor

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; reliability bins need at least 1")
        self.sums = torch.zeros((1 + num_classes, BINS, 3), dtype=torch.int64, device=device)

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return self.sums.shape[0] - 1

    def update(self, probabilities: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        """Count a batch.

        Args:
            probabilities: (B, C, H, W), or any (B, C, ...), floats in [0, 1]: the softmax.
            target: (B, ...), as for :meth:`ConfusionMatrix.update`.

        Raises:
            ValueError: as there, or a probability is not in [0, 1].
        """
        C = self.num_classes
        shape = (*target.shape[:1], C, *target.shape[1:])
        if probabilities.shape != shape:
            raise ValueError(
                f"probabilities has shape {tuple(probabilities.shape)}; expected {shape} for "
                f"{C} classes and a target of {tuple(target.shape)}"
            )
        if not probabilities.is_floating_point():
            raise ValueError(f"probabilities has dtype {probabilities.dtype}; expected floats")
        device = self.sums.device
        true, valid = _true_classes(target, ignore_index, C, device)
        if true.numel() == 0:
            return
        each = probabilities.movedim(1, 0)[:, valid].to(device, torch.float32)  # (C, n)
        low, high = (float(bound) for bound in torch.aminmax(each))
        # The mean of several softmaxes may exceed 1 by a rounding.
        if not (low >= 0 and high <= 1 + 1e-5):
            raise ValueError(
                f"probabilities has values from {low:g} to {high:g}; expected [0, 1]: give the "
                "softmax of the logits"
            )
        largest, predicted = each.max(0)
        units = (torch.cat((largest[None], each)).clamp(max=1) * _UNITS).round_().int()
        # ceil(15 p) - 1 without the rounding of a product of floats: 15 * 2^24 is below 2^31.
        bins = ((units * BINS - 1) >> 24).clamp_(min=0)
        codes = bins + BINS * torch.arange(1 + C, dtype=torch.int32, device=device)[:, None]
        right = torch.cat((codes[0][predicted == true], codes.gather(0, 1 + true[None])[0]))
        # A float64 holds the sum of 2^29 units exactly, whatever its order.
        sums = (
            torch.bincount(codes.flatten(), minlength=(1 + C) * BINS),
            torch.bincount(right, minlength=(1 + C) * BINS),
            torch.bincount(codes.flatten(), units.flatten().double(), (1 + C) * BINS).long(),
        )
        self.sums += torch.stack(sums, -1).view_as(self.sums)

    def __add__(self, other: ReliabilityBins) -> ReliabilityBins:
        if other.num_classes != self.num_classes:
            raise ValueError(
                f"cannot add the reliability bins of {self.num_classes} and {other.num_classes} "
                "classes"
            )
        total = ReliabilityBins(self.num_classes, self.sums.device)
        total.sums += self.sums + other.sums.to(self.sums.device)
        return total

    def __repr__(self) -> str:
        return (
            f"ReliabilityBins(num_classes={self.num_classes}, {int(self.pixels().sum()):,} pixels, "
            f"ECE {100 * self.ece():.1f} %)"
        )

    def reduce(self) -> ReliabilityBins:
        """The sum over all ranks of the default process group; a copy if there is no group.

        The sums must be on a device that the group's backend supports.
        """
        total = self + ReliabilityBins(self.num_classes)
        _sum_over_ranks(total.sums)
        return total

    def pixels(self) -> Tensor:
        """The number of pixels by their largest probability, (15,) int64."""
        return self.sums[0, :, 0]

    def confidence(self) -> Tensor:
        """Mean of the largest probability in each bin, (15,) float64; NaN in an empty one."""
        return self.sums[0, :, 2].double() / _UNITS / self.pixels()

    def accuracy(self) -> Tensor:
        """Share of the right pixels in each bin, (15,) float64; NaN in an empty one."""
        return self.sums[0, :, 1].double() / self.pixels()

    def ece(self) -> float:
        """Expected calibration error, in [0, 1]; NaN before any valid pixel."""
        return float(self._errors()[0])

    def class_ece(self) -> Tensor:
        """Calibration error of the probability of each class over all pixels, (C,) float64."""
        return self._errors()[1:]

    def classwise_ece(self) -> float:
        """Mean of :meth:`class_ece` over the classes; NaN before any valid pixel."""
        return float(self.class_ece().mean())

    def overconfidence(self) -> float:
        """Mean confidence minus accuracy, negative for a network that is too unsure of itself."""
        pixels, right, confidence = self.sums[0].sum(0).double()
        return float((confidence / _UNITS - right) / pixels)

    def as_dict(self) -> dict[str, Any]:
        """The errors and the bins as JSON holds them: null where there is no pixel."""
        named: dict[str, Any] = {"ece": self.ece(), "classwise_ece": self.classwise_ece()}
        named |= {"pixels": self.pixels().tolist()}
        named |= {"confidence": self.confidence().tolist(), "accuracy": self.accuracy().tolist()}
        return {
            key: [_json(each) for each in value] if isinstance(value, list) else _json(value)
            for key, value in named.items()
        }

    def _errors(self) -> Tensor:
        pixels, right, confidence = self.sums.double().unbind(-1)
        return (right - confidence / _UNITS).abs().sum(1) / pixels.sum(1)


def _json(value: float) -> float | None:
    return None if math.isnan(value) else value


def _sum_over_ranks(counts: Tensor) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)


def _true_classes(
    target: Tensor, ignore_index: int, num_classes: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The classes of the valid pixels, (n,) int64 on a device, and the mask of these pixels."""
    _check_integers("target", target)
    valid = target != ignore_index
    true = target[valid].to(device, torch.int64)
    _check_range("target", true, num_classes, f", or {ignore_index} for ignored pixels")
    return true, valid


def _check_range(name: str, ids: Tensor, num_classes: int, also: str = "") -> None:
    if ids.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(ids))
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name} has class ids from {low} to {high}; expected 0 to {num_classes - 1}{also}"
        )


def _check_integers(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"{name} has dtype {tensor.dtype}; expected integer class ids")
