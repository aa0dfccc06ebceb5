"""How a number is printed: percent with one decimal, signs that line up, a dash for what is not."""

from __future__ import annotations

import math

from lossmaxpool.report.statistics import Gain, Score

MISSING = "–"
MINUS = "\N{MINUS SIGN}"


def percent(fraction: float) -> str:
    """A fraction as percent with one decimal, without the sign."""
    return MISSING if math.isnan(fraction) else f"{100 * fraction:.1f}"


def share(fraction: float) -> str:
    """A pixel share as percent with two significant digits below ten percent."""
    if math.isnan(fraction):
        return MISSING
    value = 100 * fraction
    digits = 1 if value >= 1 or value == 0 else min(6, 1 - math.floor(math.log10(value)))
    return f"{value:.{digits}f}"


def with_std(score: Score) -> str:
    """Mean ± sample standard deviation; a single run shows no ±."""
    if math.isnan(score.std):
        return percent(score.mean)
    return f"{percent(score.mean)} ± {percent(score.std)}"


def points(difference: float) -> str:
    """A difference of fractions in percentage points, signed unless it rounds to 0."""
    if math.isnan(difference):
        return MISSING
    text = f"{100 * difference:+.1f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", MINUS)


def interval(gain: Gain) -> str:
    """The bounds of the 95 % interval in points, or a dash with fewer than two pairs."""
    if math.isnan(gain.low):
        return MISSING
    return f"{points(gain.low)} to {points(gain.high)}"


def number(value: float) -> str:
    """A parameter of the loss without needless digits."""
    return "\N{INFINITY}" if math.isinf(value) else f"{value:g}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if math.isnan(seconds):
        return MISSING
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 90 else f"{hours:.1f} h"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number and its noun."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
