"""Suggestions for misspelled names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Suggest the known name closest to the given one.

    Args:
        given: the unknown name.
        known: the valid names.

    Returns:
        ``"Did you mean 'val'?"``, or an empty string if no name is similar.

    Example:
        >>> did_you_mean("vall", ["train", "val"])
        "Did you mean 'val'?"
    """
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(given.lower(), list(by_lower), n=1)
    return f"Did you mean '{by_lower[near[0]]}'?" if near else ""
