"""Logits of full-size images, at full size, in a chosen precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from lossmaxpool.models import full_size_logits, input_stride

Precision = Literal["fp32", "bf16", "fp16"]
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@torch.inference_mode()
def predict_logits(model: nn.Module, images: Tensor, precision: Precision = "fp32") -> Tensor:
    """Logits at the size of the images, padded for the network and cropped back.

    The largest map that exists is the result itself.

    Args:
        model: (B, 3, H, W) -> (B, C, h, w), in evaluation mode.
        images: (B, 3, H, W) float32, normalised, on the model's device.
        precision: of the network's arithmetic; the upsampling is always float32.

    Returns:
        (B, C, H, W) float32.

    Raises:
        ValueError: the images are not (B, 3, H, W) floats, the precision is unknown, or the model
            is in training mode (its result would depend on the rest of the batch).

    Example:
        >>> import torch
        >>> model = torch.nn.Conv2d(3, 11, 4, stride=4).eval()
        >>> predict_logits(model, torch.zeros(1, 3, 90, 120)).shape
        torch.Size([1, 11, 90, 120])
    """
    network = network_for(model, images, precision)
    return full_size_logits(network, images, input_stride(model))


def network_for(
    model: nn.Module, images: Tensor, precision: Precision
) -> Callable[[Tensor], Tensor]:
    """The model in a precision, once it is sure that it may be applied to the images.

    Raises:
        ValueError: as :func:`predict_logits` says.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"images is {tuple(images.shape)} {images.dtype}; expected normalised floats "
            "(B, 3, H, W)"
        )
    if precision != "fp32" and precision not in _AUTOCAST:
        raise ValueError(f"precision is {precision!r}; expected 'fp32', 'bf16' or 'fp16'")
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")

    def network(padded: Tensor) -> Tensor:
        dtype = _AUTOCAST.get(precision)
        with torch.autocast(padded.device.type, dtype, enabled=dtype is not None):
            logits: Tensor = model(padded)
        return logits

    return network
