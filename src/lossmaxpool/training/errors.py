"""What stops a training run."""

from __future__ import annotations


class TrainingError(Exception):
    """A run cannot start or go on; the message says why and what to change."""


class NonFiniteLossError(TrainingError):
    """The loss or a weight became NaN or infinite."""


class CheckpointError(TrainingError):
    """A checkpoint could not be written; the one before it is intact."""


class RunInterruptedError(TrainingError):
    """Somebody pressed Ctrl-C; a resumable checkpoint was written."""
