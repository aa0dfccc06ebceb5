"""Full-size images through a trained network: checkpoints, evaluation, prediction."""

from __future__ import annotations

from lossmaxpool.inference.checkpoint import TrainedModel, Which, load_checkpoint
from lossmaxpool.inference.config import InferenceConfig
from lossmaxpool.inference.evaluate import evaluate
from lossmaxpool.inference.ids import predict_ids
from lossmaxpool.inference.logits import Precision, predict_logits
from lossmaxpool.inference.predict import Prediction, predict_folder
from lossmaxpool.inference.submission import cityscapes_submission_ids
from lossmaxpool.inference.tiles import Tile, Window, full_height_tiles

__all__ = [
    "InferenceConfig",
    "Precision",
    "Prediction",
    "Tile",
    "TrainedModel",
    "Which",
    "Window",
    "cityscapes_submission_ids",
    "evaluate",
    "full_height_tiles",
    "load_checkpoint",
    "predict_folder",
    "predict_ids",
    "predict_logits",
]
