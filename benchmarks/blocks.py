"""Blocks of pages that are written by benchmarks, between words that are written by hand.

A block stands between ``<!-- topic: name -->`` and ``<!-- end -->``; what is typed between the two
is replaced. The words around it hold no figure.
"""

from __future__ import annotations

import re
from collections.abc import Callable


def filled(page: str, topic: str, block: Callable[[str], str]) -> str:
    """Return a page with the blocks of a topic as ``block`` makes them from their names."""
    return _pattern(topic).sub(
        lambda found: f"{found[1]}\n{block(found[2]).strip()}\n\n{found[3]}", page
    )


def block_names(page: str, topic: str) -> set[str]:
    """Return the names of the blocks of a topic in a page."""
    return {found[2] for found in _pattern(topic).finditer(page)}


def _pattern(topic: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {topic}: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
