"""The folder of a run: configuration, record and files; written by training, read by all.

The errors of runs are here; each message says what happened and what to change.
"""

from __future__ import annotations


class TrainingError(Exception):
    """A run cannot start or go on."""


class NonFiniteLossError(TrainingError):
    """The loss or a weight became NaN or infinite."""


class CheckpointError(TrainingError):
    """A checkpoint could not be written; the one before it is intact."""


class RunInterruptedError(TrainingError):
    """Somebody pressed Ctrl-C; a resumable checkpoint was written."""


class RecordError(TrainingError, ValueError):
    """A run record that cannot be used, or runs that cannot be compared."""
