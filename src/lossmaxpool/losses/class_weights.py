"""Class weights from the class statistics of a training set: the rivals of a weighting by loss.

All take the labeled pixels per image and class, and are class weights for torch's cross-entropy
(``weights.float()``) as well as for max-pooling.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

ClassPixels = Tensor | Sequence[Sequence[int]] | Any

# Weights within this ratio of each other are equal for every purpose.
_EQUAL = 1e-3


def median_frequency_weights(class_pixels: ClassPixels) -> Tensor:
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
    counts = class_counts(class_pixels)
    present = counts > 0
    pixels = counts.sum(0)
    # Valid pixels of the images that contain the class.
    around = (present * counts.sum(1, keepdim=True)).sum(0)
    seen = pixels > 0
    frequency = pixels[seen] / around[seen]
    return _of_present(seen, frequency.quantile(0.5) / frequency)


def effective_number_weights(class_pixels: ClassPixels, *, beta: float | None = None) -> Tensor:
    r"""Weight each class by the inverse of its effective number of samples.

    .. math:: weight_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}, \quad
        n_c = \text{pixels of } c, \quad \sum_c weight_c = \text{classes with a pixel}

    It is 1 / n_c for a class of far fewer than 1 / (1 - beta) samples, and the same for all classes
    of far more, whose samples repeat each other.

    Args:
        class_pixels: (num_images, C) integers, the valid pixels of every class in every image.
        beta: in [0, 1). The values of the paper, 0.9 to 0.9999, are for counts of images: with
            millions of pixels, they make all weights equal, which gives a warning. None: 1 - 1/N,
            where N is the number of pixels of the median class, whatever the size of the data set.

    Returns:
        (C,) float64. A class without any pixel gets 0.

    Raises:
        TypeError, ValueError: as :func:`median_frequency_weights`, or beta outside [0, 1).

    Example:
        >>> effective_number_weights(torch.tensor([[900, 90, 10]]), beta=0.99)
        tensor([0.2284, 0.3836, 2.3880], dtype=torch.float64)

    References:
        Cui, Jia, Lin, Song, Belongie 2019, "Class-Balanced Loss Based on Effective Number of
        Samples", Proposition 1 (effective number) and Sect. 4 (weights, their sum).
    """
    if beta is not None and not (isinstance(beta, (int, float)) and 0 <= beta < 1):
        raise ValueError(
            f"beta must be in [0, 1), got {beta!r}: 1 - 1/N for N samples after which others "
            "repeat them; None takes the pixels of the median class."
        )
    pixels = class_counts(class_pixels).sum(0)
    seen = pixels > 0
    n = pixels[seen]
    rest = 1 / n.quantile(0.5) if beta is None else torch.tensor(1 - beta, dtype=n.dtype)
    # log1p and expm1: beta may be as near to 1 as 1 - 1e-9, where beta itself would be rounded.
    weights = -rest / torch.expm1(n * torch.log1p(-rest))
    weights = weights * (len(n) / weights.sum())
    if beta is not None and _alike(weights) and not _alike(n):
        warnings.warn(
            f"beta={beta} makes the weights of all classes equal, because every class has far more "
            f"than 1/(1 - beta) = {1 / (1 - beta):.0f} pixels: raise beta, or pass None.",
            stacklevel=2,
        )
    return _of_present(seen, weights)


def enet_weights(class_pixels: ClassPixels, *, c: float = 1.02) -> Tensor:
    r"""Weight each class by the inverse logarithm of its share of the pixels, as ENet does.

    .. math:: weight_k = \frac{1}{\ln(c + f_k)}, \quad
        f_k = \frac{\text{pixels of } k}{\text{valid pixels}}

    Args:
        class_pixels: (num_images, C) integers, the valid pixels of every class in every image.
        c: bounds the weights by 1 / ln(c); 1.02 keeps them between 1 and 50.

    Returns:
        (C,) float64. A class without any pixel gets 0.

    Raises:
        TypeError, ValueError: as :func:`median_frequency_weights`, or c not above 1.

    Example:
        >>> enet_weights(torch.tensor([[90, 10, 0]]))
        tensor([1.5330, 8.8239, 0.0000], dtype=torch.float64)

    References:
        Paszke, Chaurasia, Kim, Culurciello 2016, "ENet", Sect. 5.2.
    """
    if not isinstance(c, (int, float)) or not 1 < c < torch.inf:
        raise ValueError(
            f"c must be a number above 1, got {c!r}: the weights are at most 1 / ln(c), and "
            "negative for rare classes where c is below 1; the paper's choice is 1.02."
        )
    pixels = class_counts(class_pixels).sum(0)
    seen = pixels > 0
    return _of_present(seen, 1 / torch.log(c + pixels[seen] / pixels.sum()))


def inverse_sqrt_frequency_weights(class_pixels: ClassPixels) -> Tensor:
    r"""Weight each class by the inverse square root of its share of the pixels.

    .. math:: weight_c \propto f_c^{-1/2}, \quad \sum_c f_c \, weight_c = 1, \quad
        f_c = \frac{\text{pixels of } c}{\text{valid pixels}}

    Half-way, in powers, between equal weights and inverse frequency. A pixel's weight is 1 on
    average.

    Args:
        class_pixels: (num_images, C) integers, the valid pixels of every class in every image.

    Returns:
        (C,) float64. A class without any pixel gets 0.

    Raises:
        TypeError, ValueError: as :func:`median_frequency_weights`.

    Example:
        >>> inverse_sqrt_frequency_weights(torch.tensor([[64, 36, 0]]))
        tensor([0.8929, 1.1905, 0.0000], dtype=torch.float64)

    References:
        Mahajan et al. 2018, "Exploring the Limits of Weakly Supervised Pretraining": this power for
        the sampling of images.
    """
    pixels = class_counts(class_pixels).sum(0)
    seen = pixels > 0
    share = pixels[seen] / pixels.sum()
    weights = share**-0.5
    return _of_present(seen, weights / (share * weights).sum())


def class_counts(class_pixels: ClassPixels) -> Tensor:
    """(num_images, C) float64 counts of pixels, or an error that says what is wrong with them."""
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
    if not bool(counts.any()):
        raise ValueError("class_pixels holds no pixel of any class: is everything ignored?")
    return counts


def _alike(values: Tensor) -> bool:
    return bool(values.max() <= (1 + _EQUAL) * values.min())


def _of_present(seen: Tensor, weights: Tensor) -> Tensor:
    """The weights of the classes that have a pixel, and 0 for the others."""
    every = torch.zeros(seen.shape, dtype=weights.dtype, device=weights.device)
    every[seen] = weights
    return every
