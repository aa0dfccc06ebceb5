"""The errors live in :mod:`lossmaxpool.runs.errors`; these are their names here."""

from lossmaxpool.runs.errors import (
    CheckpointError,
    NonFiniteLossError,
    RunInterruptedError,
    TrainingError,
)

__all__ = ["CheckpointError", "NonFiniteLossError", "RunInterruptedError", "TrainingError"]
