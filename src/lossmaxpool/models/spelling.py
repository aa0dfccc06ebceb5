"""What the user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A sentence that proposes the nearest known names, or lists all where they are few.

    Args:
        given: the name that is not known.
        known: the names that are.

    Returns:
        ``"did you mean 'Unet'?"``, ``"known: 'a', 'b'"``, or ``""``.
    """
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(given.lower(), list(by_lower), n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(by_lower[name]) for name in near)}?"
    if len(by_lower) <= 20:
        return f"known: {', '.join(repr(name) for name in sorted(by_lower.values()))}"
    return ""
