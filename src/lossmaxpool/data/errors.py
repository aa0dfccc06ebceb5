"""The one error that readers raise, so that a command can show it without a traceback."""

from __future__ import annotations


class DataError(ValueError):
    """A data set that cannot be read as it is: what came, what was expected, what to change."""
