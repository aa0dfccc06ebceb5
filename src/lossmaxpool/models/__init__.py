"""Networks: DeepLabV2, and those of timm and segmentation_models_pytorch."""

from __future__ import annotations

from lossmaxpool.models.build import build_model, input_stride, normalization, parameter_groups
from lossmaxpool.models.deeplabv2 import DeepLabV2
from lossmaxpool.models.description import ModelDescription
from lossmaxpool.models.full_size import full_size_logits
from lossmaxpool.models.weights import load_caffe_weights, load_encoder_weights
from lossmaxpool.options import ModelConfig

__all__ = [
    "DeepLabV2", "ModelConfig", "ModelDescription", "build_model", "full_size_logits",
    "input_stride", "load_caffe_weights", "load_encoder_weights", "normalization",
    "parameter_groups",
]  # fmt: skip
