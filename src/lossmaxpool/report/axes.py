"""Scales and ticks: from data to the coordinates of a drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] to [start, end], linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(value)
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def linear_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover [low, high]; their ends are the ends of the axis.

    Example:
        >>> linear_ticks(-3, 31)
        [-10.0, 0.0, 10.0, 20.0, 30.0, 40.0]
    """
    if high <= low:
        high = low + 1
    raw = (high - low) / count
    magnitude = 10 ** math.floor(math.log10(raw))
    step = magnitude * next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(i * step) for i in range(first, last + 1)]


def ticks_inside(low: float, high: float, count: int = 5) -> list[float]:
    """The round numbers of `linear_ticks` that lie in [low, high].

    Example:
        >>> ticks_inside(-3, 31)
        [0.0, 10.0, 20.0, 30.0]
    """
    return [tick for tick in linear_ticks(low, high, count) if low <= tick <= high]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten inside [low, high]; over three decades the powers alone.

    Example:
        >>> log_ticks(0.3, 4)
        [0.5, 1.0, 2.0]
        >>> log_ticks(0.004, 40)
        [0.01, 0.1, 1.0, 10.0]
    """
    multiples = (1, 2, 5) if high / low < 1000 else (1,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    candidates = (
        multiple * 10.0**exponent for exponent in range(first, last + 1) for multiple in multiples
    )
    return [tick for tick in candidates if low <= tick <= high]


def tick_text(value: float) -> str:
    """A tick's number without needless digits."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def count_text(value: float) -> str:
    """A large tick's number with a thousand's or million's letter.

    Example:
        >>> count_text(500), count_text(2e4), count_text(1e9)
        ('500', '20k', '1000M')
    """
    if value < 1000:
        return tick_text(value)
    return f"{value / 1e3:g}k" if value < 1e6 else f"{value / 1e6:.12g}M"
