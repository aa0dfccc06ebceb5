"""The losses as modules, and the rivals the paper compares them with."""

from lossmaxpool.losses.bootstrapped import BootstrappedCrossEntropyLoss
from lossmaxpool.losses.max_pooling import (
    MaxPoolingBCEWithLogitsLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
)
from lossmaxpool.losses.median_frequency import median_frequency_weights

__all__ = [
    "BootstrappedCrossEntropyLoss",
    "MaxPoolingBCEWithLogitsLoss",
    "MaxPoolingCrossEntropyLoss",
    "MaxPoolingLoss",
    "median_frequency_weights",
]
