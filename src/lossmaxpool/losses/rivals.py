"""The paper's baselines: online bootstrapping and inverse median frequency weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lossmaxpool.functional import Pool, Reduction
from lossmaxpool.losses.options import LabeledLoss, Weight
from lossmaxpool.ops.dispatch import Backend
from lossmaxpool.ops.weighting_set import WeightingSet


class BootstrappedCrossEntropyLoss(LabeledLoss):
    """The mean of the k highest pixel losses of every image.

    It is loss max-pooling at p = 1 with m = k (Theorem 2), so it needs no sort either; losses
    tied at the k-th place share its weight evenly.

    Args:
        k: the number of pixels per image, at least 1. Wu et al. use 512 per 512x512 crop. Images
            with fewer valid pixels use all of them.
        weight: (C,) class weights, a tensor or a sequence.
        ignore_index: target id of ignored pixels; None: all are valid.
        label_smoothing: in [0, 1], as in torch.
        pool: take the k pixels of each "image", of the "batch", or of all ranks ("world").
        reduction: over images with a valid pixel: "mean", "sum" or "none" (one value per image).
        backend: "auto", "torch", "native" or "triton".

    Shapes:
        As :class:`~lossmaxpool.losses.MaxPoolingCrossEntropyLoss`.

    Raises:
        ValueError, TypeError: parameters or tensors that do not fit.

    Example:
        >>> criterion = BootstrappedCrossEntropyLoss(k=32, ignore_index=255)
        >>> loss = criterion(torch.randn(2, 5, 16, 16), torch.randint(0, 5, (2, 16, 16)))

    References:
        Wu, Shen, van den Hengel 2016, Sect. 3.3 ([43] in Rota Bulò et al. 2017).
    """

    def __init__(
        self,
        k: int = 512,
        *,
        weight: Weight = None,
        ignore_index: int | None = -100,
        label_smoothing: float = 0.0,
        pool: Pool = "image",
        reduction: Reduction = "mean",
        backend: Backend = "auto",
    ) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be a number of pixels, an integer >= 1, got {k!r}.")
        super().__init__(weight, ignore_index, label_smoothing, pool, reduction, backend)
        self.k = k

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the bootstrapped loss of logits (B, C, ...) and target (B, ...)."""
        return self._cross_entropy(input, target, WeightingSet.top_k(self.k))

    def _shown(self) -> tuple[str, ...]:
        return ("k",)


def median_frequency_weights(class_pixels: Tensor | Sequence[Sequence[int]] | Any) -> Tensor:
    r"""Weight each class by the median class frequency divided by its own frequency.

    .. math:: weight_c = \frac{\mathrm{median}_k f_k}{f_c}, \quad
        f_c = \frac{\text{pixels of } c}{\text{valid pixels of the images that hold } c}

    The denominator counts only the images that contain the class. A common implementation divides
    by all images instead, which gives plain inverse frequency.

    Args:
        class_pixels: (num_images, C) integers (a tensor, an array or nested sequences), the valid
            pixels of every class in every training image, as ``lossmaxpool inspect`` counts them.

    Returns:
        (C,) float64. A class without any pixel gets 0 and does not enter the median.

    Raises:
        TypeError: counts that are not integers.
        ValueError: another shape, negative counts, or no pixel at all.

    Example:
        >>> counts = torch.tensor([[90, 10, 0], [60, 0, 40]])
        >>> median_frequency_weights(counts)  # frequencies 0.75, 0.1, 0.4
        tensor([0.5333, 4.0000, 1.0000], dtype=torch.float64)

    References:
        Eigen, Fergus 2015, Sect. 6.3.2 ([12] in Rota Bulò et al. 2017).
    """
    try:
        class_pixels = torch.as_tensor(class_pixels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"class_pixels must be (num_images, C) integer counts, got "
            f"{type(class_pixels).__name__}: pass a tensor, an array or equally long lists."
        ) from error
    if class_pixels.is_floating_point() or class_pixels.dtype == torch.bool:
        raise TypeError(
            f"class_pixels must be integer counts, got {class_pixels.dtype}: "
            "pass pixels per image and class, not frequencies or masks."
        )
    if class_pixels.dim() != 2:
        raise ValueError(
            f"class_pixels must be (num_images, C), got shape {tuple(class_pixels.shape)}: the "
            "images in which a class occurs have to be known."
        )
    if bool((class_pixels < 0).any()):
        raise ValueError("class_pixels holds negative counts.")
    counts = class_pixels.to(torch.float64)
    present = counts > 0
    pixels = counts.sum(0)
    if not bool(present.any()):
        raise ValueError("class_pixels holds no pixel of any class: is everything ignored?")
    # Valid pixels of the images that contain the class.
    around = (present * counts.sum(1, keepdim=True)).sum(0)
    seen = pixels > 0
    frequency = pixels[seen] / around[seen]
    weights = torch.zeros_like(pixels)
    weights[seen] = frequency.quantile(0.5) / frequency
    return weights
