"""The sentence for a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown_choice(what: str, given: str, choices: Iterable[str]) -> str:
    """Says that a name is unknown, which one may have been meant and which ones there are.

    Example:
        >>> unknown_choice("split", "vall", ["train", "val"])
        "Unknown split 'vall'. Did you mean 'val'? There are: train, val."
    """
    known = list(choices)
    close = get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"Unknown {what} '{given}'.{hint} There are: {', '.join(known)}."
