"""HTML and SVG elements whose text is always escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Markup(str):
    """Text that is markup already; every other text is escaped where it is put into an element."""

    __slots__ = ()


_VOID = frozenset({"img", "br", "hr", "meta", "col"})

Child = str | None


def element(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """One element.

    Args:
        tag: Its name.
        children: Text (escaped), markup (kept) or None (left out).
        attributes: An underscore in a name stands for a hyphen, one at the end is dropped
            (``class_``). Numbers are written short; None leaves the attribute out.

    Example:
        >>> element("td", "a < b", class_="name")
        '<td class="name">a &lt; b</td>'
    """
    opened = tag + "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{opened}>")
    return Markup(f"<{opened}>{join(children)}</{tag}>")


def join(children: Iterable[Child], separator: str = "") -> Markup:
    """Markup and escaped text in a row."""
    return Markup(
        separator.join(
            child if isinstance(child, Markup) else escape(child)
            for child in children
            if child is not None
        )
    )


def _text(value: str | float) -> str:
    # Hundredths of a pixel are enough, and keep a page of figures small.
    return value if isinstance(value, str) else f"{round(value, 2):g}"
