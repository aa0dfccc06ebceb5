"""The configuration lives in :mod:`lossmaxpool.runs.config`; these are its names here."""

from lossmaxpool.runs.config import (
    MAX_POOLED,
    SAMPLED,
    HardwareConfig,
    LossConfig,
    MethodId,
    OptimizationConfig,
    ReportingConfig,
    SamplingConfig,
    TrainConfig,
    differences,
)

__all__ = [
    "MAX_POOLED",
    "SAMPLED",
    "HardwareConfig",
    "LossConfig",
    "MethodId",
    "OptimizationConfig",
    "ReportingConfig",
    "SamplingConfig",
    "TrainConfig",
    "differences",
]
