"""Networks: the door to timm and segmentation_models_pytorch."""

from __future__ import annotations

from lossmaxpool.models.build import build_model, input_stride, normalization
from lossmaxpool.models.config import ModelConfig
from lossmaxpool.models.description import ModelDescription
from lossmaxpool.models.full_size import full_size_logits
from lossmaxpool.models.weights import load_encoder_weights

__all__ = [
    "ModelConfig",
    "ModelDescription",
    "build_model",
    "full_size_logits",
    "input_stride",
    "load_encoder_weights",
    "normalization",
]
