"""The sentence for a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

from lossmaxpool.data.errors import DataError
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


def check_split(what: str, given: str, choices: Iterable[str]) -> None:
    """Refuses a split that a data set does not have.

    Args:
        what: the data set.
        given: the split.
        choices: the splits that there are.

    Raises:
        DataError: naming the splits that there are.
    """
    known = list(choices)
    if given not in known:
        raise DataError(unknown_choice(f"split of {what}", given, known))
