"""Commands as the tests call them."""

from __future__ import annotations

from collections.abc import Sequence

from lossmaxpool.cli import main


def status(words: Sequence[object]) -> int:
    """The exit status, whether it is returned or raised."""
    try:
        return main([str(word) for word in words])
    except SystemExit as leaving:
        return int(leaving.code or 0)
