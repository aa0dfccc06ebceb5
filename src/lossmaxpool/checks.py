"""Checks of scalar parameters; errors name the value received, the valid values and the fix."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import ParamSpec, TypeVar


def check_norm(p: object) -> None:
    """Raise ValueError for a norm exponent outside [1, inf]."""
    if not isinstance(p, (int, float)) or not p >= 1:  # also rejects NaN
        raise ValueError(
            f"p must be a norm exponent in [1, inf], got {p!r}: 1 keeps the hardest pixels only, "
            "inf averages, the paper's choice is 1.3."
        )


def check_share(name: str, share: object) -> None:
    """Raise ValueError for a share of the pixels outside (0, 1]."""
    if not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(
            f"{name} must be a share of the valid pixels in (0, 1], got {share!r}: "
            "0.25 means at least a quarter of them."
        )


def check_count(name: str, value: object, of: str = "") -> None:
    """Raise ValueError for anything but an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        what = f"a number of {of}, an integer" if of else "an integer"
        raise ValueError(f"{name} must be {what} >= 1, got {value!r}.")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError for an unknown option value, suggesting the closest valid one."""
    known = tuple(choices)
    if value in known:
        return
    message = f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}."
    raise ValueError(f"{message} {did_you_mean(str(value), known)}".rstrip())


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def options_by_name(
    positional: str,
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Raise a clear TypeError when options are passed positionally, instead of misassigning them.

    ``positional`` lists the arguments that may be positional, e.g. "losses" or "self". torch's
    losses take ``weight`` as their first positional argument, so callers might expect the same.
    """
    names = positional.split(", ")
    shown = [name for name in names if name != "self"]

    def decorate(
        function: Callable[_Parameters, _Result],
    ) -> Callable[_Parameters, _Result]:
        @functools.wraps(function)
        def checked(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            if len(args) > len(names):
                surplus = len(args) - len(names)
                taken = f"{', '.join(shown)} and then options" if shown else "options"
                name = function.__qualname__.removesuffix(".__init__")
                raise TypeError(
                    f"{name} takes {taken} by name only, got {surplus} more without a name: "
                    f"write e.g. {'valid=...' if 'losses' in names else 'p=1.3'}, "
                    f"min_support=0.25 (positional arguments of torch's losses mean other things)."
                )
            return function(*args, **kwargs)

        return checked

    return decorate


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Suggest the known name closest to the given one.

    Returns:
        ``"Did you mean 'val'?"``, or an empty string if no name is similar.

    Example:
        >>> did_you_mean("vall", ["train", "val"])
        "Did you mean 'val'?"
    """
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(given.lower(), list(by_lower), n=1)
    return f"Did you mean '{by_lower[near[0]]}'?" if near else ""
