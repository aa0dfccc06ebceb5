"""Inverse median frequency, the paper's static rival: class weights from class statistics."""

from __future__ import annotations

import torch
from torch import Tensor


def median_frequency_weights(class_pixels: Tensor) -> Tensor:
    r"""Weight each class by the median class frequency over its own.

    .. math:: weight_c = \frac{\mathrm{median}_k f_k}{f_c}, \quad
        f_c = \frac{\text{pixels of } c}{\text{valid pixels of the images that hold } c}

    The denominator counts only the images that hold the class; dividing by all images, as a common
    copy does, turns it into plain inverse frequency.

    Args:
        class_pixels: (num_images, C) integer, the valid pixels of every class in every training
            image, as ``lossmaxpool inspect`` counts them.

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
    # Valid pixels of the images that hold the class.
    around = (present * counts.sum(1, keepdim=True)).sum(0)
    seen = pixels > 0
    frequency = pixels[seen] / around[seen]
    weights = torch.zeros_like(pixels)
    weights[seen] = frequency.quantile(0.5) / frequency
    return weights
