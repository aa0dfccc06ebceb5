"""What the report reads from the package and how it writes."""

from __future__ import annotations

from pathlib import Path

from lossmaxpool.atomic import write_atomically
from lossmaxpool.report.markup import Markup, element


def style(*names: str) -> Markup:
    """The package's style sheets, one after the other."""
    folder = Path(__file__).parent
    return Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in names))


def standalone(drawing: Markup, *sheets: str) -> str:
    """An SVG as a file of its own, with the styles that a page would give it, and further ones."""
    opening, rest = drawing.split(">", 1)
    sheet = element("style", style("drawing.css", *sheets))
    return f'{opening} xmlns="http://www.w3.org/2000/svg">{sheet}{rest}\n'


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all: an earlier one survives a failure."""
    write_atomically(path, text.encode())
    return path
