"""The setting of a run that a row of a table or a point of a sweep stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lossmaxpool.report.comparison import Run
from lossmaxpool.report.fields import RecordError

MAX_POOLING = ("loss-only", "lmp")


@dataclass(frozen=True)
class MethodSetting:
    """Method, p and m; None where the method does not have them.

    Args:
        method: The id of the method.
        p: The norm of the weighting set.
        min_support: m / n.
    """

    method: str
    p: float | None = None
    min_support: float | None = None


def method_setting(run: Run) -> MethodSetting:
    """The setting that a run trained: p and m count for max-pooling alone.

    Raises:
        RecordError: A run of max-pooling whose configuration lacks p or m.
    """
    if run.method not in MAX_POOLING:
        return MethodSetting(run.method)
    loss = run.config.get("loss")
    options = loss if isinstance(loss, Mapping) else {}
    p, min_support = _number(options.get("p")), _number(options.get("min_support"))
    if p is None or min_support is None:
        raise RecordError(
            f"{run.folder}: config has loss.p {options.get('p')!r} and loss.min_support "
            f"{options.get('min_support')!r}, expected two numbers for the method {run.method!r}. "
            "Train the run again."
        )
    return MethodSetting(run.method, p, min_support)


def _number(value: object) -> float | None:
    """A number of a configuration; JSON has no infinity, which is written as text."""
    if value == "inf":
        return math.inf
    return float(value) if isinstance(value, int | float) else None
