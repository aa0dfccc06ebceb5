"""Training: a configuration in, a run folder out."""

from lossmaxpool.runs import TrainingError
from lossmaxpool.runs.config import TrainConfig
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training.loop import train
from lossmaxpool.training.sweep import compare

__all__ = ["RunRecord", "TrainConfig", "TrainingError", "compare", "train"]
