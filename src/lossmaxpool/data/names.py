"""The sentence for a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

from lossmaxpool.spelling import did_you_mean


def unknown_choice(what: str, given: str, choices: Iterable[str]) -> str:
    """Says that a name is unknown, which one may have been meant and which ones there are.

    Example:
        >>> unknown_choice("split", "vall", ["train", "val"])
        "Unknown split 'vall'. Did you mean 'val'? There are: train, val."
    """
    known = list(choices)
    sentences = (
        f"Unknown {what} '{given}'.",
        did_you_mean(given, known),
        f"There are: {', '.join(known)}.",
    )
    return " ".join(filter(None, sentences))
