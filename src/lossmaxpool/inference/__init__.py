"""Full-size images through a trained network: checkpoints, evaluation, prediction."""

from __future__ import annotations

from lossmaxpool.inference.checkpoint import TrainedModel, load_checkpoint
from lossmaxpool.inference.evaluate import evaluate
from lossmaxpool.inference.logits import Precision, predict_logits
from lossmaxpool.inference.predict import Prediction, predict_folder

__all__ = [
    "Precision",
    "Prediction",
    "TrainedModel",
    "evaluate",
    "load_checkpoint",
    "predict_folder",
    "predict_logits",
]
