"""Which network, and where its encoder's weights come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelConfig:
    """A segmentation network: a decoder of segmentation_models_pytorch on a timm encoder.

    Args:
        architecture: a decoder of segmentation_models_pytorch, e.g. DeepLabV3Plus, Unet or FPN.
        encoder: "tu-" and the name of a timm model, e.g. tu-tf_efficientnet_lite0.
        weights: the encoder's weights: "imagenet" (timm's own, from the hub), "none" (random),
            a .pth or .safetensors file, or "package:NAME" (an installed package that ships one).
        encoder_output_stride: stride of the encoder's last feature map, for the architectures that
            dilate (DeepLabV3, DeepLabV3Plus, PAN); None is the architecture's own default.
        decoder_options: further arguments of the architecture, e.g. {"decoder_channels": 128}.
    """

    architecture: str = "DeepLabV3Plus"
    encoder: str = "tu-tf_efficientnet_lite0"
    weights: str = "imagenet"
    encoder_output_stride: int | None = None
    decoder_options: dict[str, Any] = field(default_factory=dict)
