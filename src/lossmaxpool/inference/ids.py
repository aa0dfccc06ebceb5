"""Class ids of full-size images, with bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lossmaxpool.inference.config import InferenceConfig
from lossmaxpool.inference.logits import Precision, network_for
from lossmaxpool.models import input_stride
from lossmaxpool.models.strips import decide, small_logits

FULL_IMAGE = InferenceConfig()


@torch.inference_mode()
def predict_ids(
    model: nn.Module,
    images: Tensor,
    config: InferenceConfig = FULL_IMAGE,
    precision: Precision = "fp32",
    *,
    names: Sequence[str] = (),
    num_classes: int | None = None,
) -> Tensor:
    """Predict the class of every pixel; each pixel is decided once, by the tile that owns it.

    Beyond the network's own, the memory is that of a tile's small logits for every view (scale,
    mirroring) and of one strip of pixels: scores of all classes never exist at full size.

    Args:
        model: (B, 3, H, W) -> (B, C, h, w), in evaluation mode, C at most 256.
        images: (B, 3, H, W) float32, normalised, on the model's device.
        config: tiles, mirroring, scales.
        precision: of the network's arithmetic; the upsampling is always float32.
        names: of the images, for messages.
        num_classes: C, if the model is to be held to it.

    Returns:
        (B, H, W) uint8, on the model's device.

    Raises:
        ValueError: the images are not (B, 3, H, W) floats or too narrow for the tiles, the
            precision is unknown, the model is in training mode, or its logits are not finite or
            not of ``num_classes`` classes.

    Example:
        >>> model = torch.nn.Conv2d(3, 11, 4, stride=4).eval()
        >>> config = InferenceConfig("optimized", tiles=3, overlap=16, flip=True)
        >>> predict_ids(model, torch.zeros(1, 3, 90, 120), config).shape
        torch.Size([1, 90, 120])
    """
    network = network_for(model, images, precision)
    stride = input_stride(model)
    B, _, H, W = images.shape
    ids = torch.empty(B, H, W, dtype=torch.uint8, device=images.device)
    try:
        tiles = config.cut(H, W, stride)
    except ValueError as error:
        raise ValueError(f"{_which(names)}: {error}") from None
    for tile in tiles:
        read, owned = tile.read, tile.owned
        part = images[..., read.rows, read.columns]
        versions = []
        for scale, mirror in config.views:
            logits = small_logits(network, part, stride, scale, mirror)
            _check_logits(logits.values, names, num_classes)
            versions.append(logits)
        first_row, first_column = owned.top - read.top, owned.left - read.left
        ids[:, owned.rows, owned.columns] = decide(
            versions,
            range(first_row, first_row + owned.height),
            range(first_column, first_column + owned.width),
        )
    return ids


def _check_logits(logits: Tensor, names: Sequence[str], num_classes: int | None) -> None:
    if num_classes is not None and logits.shape[1] != num_classes:
        raise ValueError(
            f"the model gives {logits.shape[1]} classes, the data set has {num_classes}"
        )
    # The argmax of NaN is a class like any other: the result would be plausible and wrong.
    if not bool(logits.isfinite().all()):
        raise ValueError(
            f"the logits of {_which(names)} are not finite; the weights are damaged, or "
            "the precision is too low (try 'fp32')"
        )


def _which(names: Sequence[str]) -> str:
    return ", ".join(names) or "the images"
