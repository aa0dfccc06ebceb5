"""Training: a configuration in, a run folder out."""

from lossmaxpool.training.compare import compare
from lossmaxpool.training.config import TrainConfig
from lossmaxpool.training.errors import TrainingError
from lossmaxpool.training.loop import train
from lossmaxpool.training.record import RunRecord

__all__ = ["RunRecord", "TrainConfig", "TrainingError", "compare", "train"]
