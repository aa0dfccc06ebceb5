"""Full-size images through a trained network: evaluation, prediction, checkpoints."""

from __future__ import annotations

from lossmaxpool.inference.evaluate import evaluate
from lossmaxpool.inference.logits import Precision, predict_logits

__all__ = ["Precision", "evaluate", "predict_logits"]
