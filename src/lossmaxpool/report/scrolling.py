"""A box that scrolls sideways, so that the page never does."""

from __future__ import annotations

from lossmaxpool.report.markup import Child, Markup, element


def scrolling(label: str, *content: Child, class_: str = "scroll") -> Markup:
    """The box; it can be reached by keyboard and has a name to be announced by."""
    return element("div", *content, class_=class_, role="region", aria_label=label, tabindex="0")
