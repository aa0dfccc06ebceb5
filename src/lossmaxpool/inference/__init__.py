"""Full-size images through a trained network: checkpoints, evaluation, calibration, prediction."""

from __future__ import annotations

from lossmaxpool.inference.calibration import (
    Calibration,
    calibrate,
    calibrated,
    fit_temperature,
    save_calibration,
)
from lossmaxpool.inference.checkpoint import TrainedModel, load_checkpoint
from lossmaxpool.inference.evaluation import evaluate
from lossmaxpool.inference.export import export_network
from lossmaxpool.inference.prediction import Prediction, cityscapes_submission_ids, predict_folder
from lossmaxpool.inference.tiling import (
    Tile,
    Window,
    full_height_tiles,
    predict_ids,
    predict_logits,
    tiles_of,
)
from lossmaxpool.options import Format, InferenceConfig, Precision, Which

__all__ = [
    "Calibration", "Format", "InferenceConfig", "Precision", "Prediction", "Tile", "TrainedModel",
    "Which", "Window", "calibrate", "calibrated", "cityscapes_submission_ids", "evaluate",
    "export_network", "fit_temperature", "full_height_tiles", "load_checkpoint", "predict_folder",
    "predict_ids", "predict_logits", "save_calibration", "tiles_of",
]  # fmt: skip
