"""What the user may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Propose the known name nearest to the one that was given.

    Args:
        given: the name that is not known.
        known: the names that are.

    Returns:
        ``"Did you mean 'val'?"``, or an empty string where nothing is near.

    Example:
        >>> did_you_mean("vall", ["train", "val"])
        "Did you mean 'val'?"
    """
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(given.lower(), list(by_lower), n=1)
    return f"Did you mean '{by_lower[near[0]]}'?" if near else ""
