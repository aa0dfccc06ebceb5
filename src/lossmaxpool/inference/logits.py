"""Logits of full-size images, at full size."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool.models import input_stride

Precision = Literal["fp32", "bf16", "fp16"]
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@torch.inference_mode()
def predict_logits(model: nn.Module, images: Tensor, precision: Precision = "fp32") -> Tensor:
    """Logits at the size of the images.

    Right and bottom are padded with the mean colour (0 after normalisation, as in training crops)
    to a multiple of the network's stride; the logits are upsampled bilinearly
    (align_corners=False) and the padding is cut off.

    Args:
        model: (B, 3, H, W) -> (B, C, h, w), in evaluation mode.
        images: (B, 3, H, W) float32, normalised, on the model's device.
        precision: of the network's arithmetic; the upsampling is always float32.

    Returns:
        (B, C, H, W) float32.

    Raises:
        ValueError: the images are not (B, 3, H, W) floats, the precision is unknown, or the model
            is in training mode (its batch statistics would depend on the batch).
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"images is {tuple(images.shape)} {images.dtype}; expected normalised floats "
            "(B, 3, H, W)"
        )
    if precision not in ("fp32", *_AUTOCAST):
        raise ValueError(f"precision is {precision!r}; expected 'fp32', 'bf16' or 'fp16'")
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    H, W = images.shape[-2:]
    stride = input_stride(model)
    padded = F.pad(images, (0, -W % stride, 0, -H % stride))
    with torch.autocast(
        images.device.type, _AUTOCAST.get(precision), enabled=precision in _AUTOCAST
    ):
        logits: Tensor = model(padded)
    full = F.interpolate(
        logits.float(), size=padded.shape[-2:], mode="bilinear", align_corners=False
    )
    return full[..., :H, :W]
