"""The losses as modules, their schedules, and the rivals that a comparison needs."""

from lossmaxpool.losses.binary import MaxPoolingBCEWithLogitsLoss
from lossmaxpool.losses.class_weights import (
    effective_number_weights,
    enet_weights,
    inverse_sqrt_frequency_weights,
    median_frequency_weights,
)
from lossmaxpool.losses.max_pooling import MaxPoolingCrossEntropyLoss, MaxPoolingLoss
from lossmaxpool.losses.rivals import (
    BootstrappedCrossEntropyLoss,
    LogitAdjustedLoss,
    OHEMCrossEntropyLoss,
)
from lossmaxpool.losses.schedules import LossSchedule, Schedule

__all__ = [
    "BootstrappedCrossEntropyLoss", "LogitAdjustedLoss", "LossSchedule",
    "MaxPoolingBCEWithLogitsLoss", "MaxPoolingCrossEntropyLoss", "MaxPoolingLoss",
    "OHEMCrossEntropyLoss", "Schedule", "effective_number_weights", "enet_weights",
    "inverse_sqrt_frequency_weights", "median_frequency_weights",
]  # fmt: skip
