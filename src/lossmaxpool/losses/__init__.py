"""The losses as modules, and the baselines of the paper."""

from lossmaxpool.losses.binary import MaxPoolingBCEWithLogitsLoss
from lossmaxpool.losses.max_pooling import MaxPoolingCrossEntropyLoss, MaxPoolingLoss
from lossmaxpool.losses.rivals import BootstrappedCrossEntropyLoss, median_frequency_weights

__all__ = [
    "BootstrappedCrossEntropyLoss",
    "MaxPoolingBCEWithLogitsLoss",
    "MaxPoolingCrossEntropyLoss",
    "MaxPoolingLoss",
    "median_frequency_weights",
]
