"""Which network, and where its encoder's weights come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelConfig:
    """A segmentation network: DeepLabV2 or a decoder of segmentation_models_pytorch, on an encoder.

    Args:
        architecture: DeepLabV2, or a decoder of segmentation_models_pytorch, e.g. DeepLabV3Plus.
        encoder: "tu-" and the name of a timm model, e.g. tu-tf_efficientnet_lite0; for DeepLabV2
            also caffe-resnet101, the layout of the original Caffe networks.
        weights: the encoder's weights: "imagenet" (timm's own, from the hub), "none" (random),
            a .pth or .safetensors file, or "package:NAME" (an installed package that ships one).
        encoder_output_stride: stride of the encoder's last feature map, for the architectures that
            dilate (DeepLabV2, DeepLabV3, DeepLabV3Plus, PAN); None is the architecture's default.
        decoder_options: further arguments of the architecture, e.g. {"decoder_channels": 128}.
        frozen_batch_norm: fix the encoder's batch norms, statistics and affine parameters alike, at
            the values of its weights, in training too.
        pretrained_head: take the classifier from a converted Caffe file as well; its classes must
            be those of the data set.
    """

    architecture: str = "DeepLabV3Plus"
    encoder: str = "tu-tf_efficientnet_lite0"
    weights: str = "imagenet"
    encoder_output_stride: int | None = None
    decoder_options: dict[str, Any] = field(default_factory=dict)
    frozen_batch_norm: bool = False
    pretrained_head: bool = False
