"""From a network that sees multiples of its stride to logits of images of any size."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def full_size_logits(network: Callable[[Tensor], Tensor], images: Tensor, stride: int) -> Tensor:
    """Logits at the size of the images.

    Right and bottom are padded with 0, the mean colour after normalisation, as in training crops;
    the logits are upsampled bilinearly (align_corners=False) to the padded size, in float32, and
    the padding is cut off.

    Args:
        network: (B, 3, H', W') -> (B, C, h, w), for H' and W' multiples of ``stride``.
        images: (B, 3, H, W), normalised.
        stride: as :func:`lossmaxpool.models.input_stride` says.

    Returns:
        (B, C, H, W) float32.

    Example:
        >>> import torch
        >>> full_size_logits(torch.nn.AvgPool2d(16), torch.zeros(1, 3, 30, 50), 16).shape
        torch.Size([1, 3, 30, 50])
    """
    H, W = images.shape[-2:]
    padded = F.pad(images, (0, -W % stride, 0, -H % stride))
    size = padded.shape[-2:]
    logits = network(padded).float()
    # To the padded size first: straight to (H, W) would stretch the picture over its padding.
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[..., :H, :W]
