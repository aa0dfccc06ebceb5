"""What the report reads from the package and how it writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lossmaxpool.atomic import write_atomically
from lossmaxpool.report.markup import Markup, element

_LIGHT = re.compile(r":root \{(.*?)\}", re.DOTALL)
_DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}\s*\}", re.DOTALL)
_VALUE = re.compile(r"--([\w-]+): ([^;]+);")
_USE = re.compile(r"var\(--([\w-]+)\)")


def style(*names: str) -> Markup:
    """The package's style sheets, one after the other."""
    folder = Path(__file__).parent
    return Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in names))


def standalone(drawing: Markup, *sheets: str, rules: str = "") -> str:
    """An SVG as a file of its own, with the styles that a page would give it, and further ones."""
    opening, rest = drawing.split(">", 1)
    sheet = element("style", _without_variables(f"{style('drawing.css', *sheets)}\n{rules}"))
    return f'{opening} xmlns="http://www.w3.org/2000/svg">{sheet}{rest}\n'


def _without_variables(css: str) -> Markup:
    """The same styles with each colour in its place, first the light ones, then the dark ones.

    Browsers alone know variables: what typesets a paper would draw every line black.
    """
    dark = dict(_VALUE.findall("".join(_DARK.findall(css))))
    css = _DARK.sub("", css)
    light = dict(_VALUE.findall("".join(_LIGHT.findall(css))))
    rules = _LIGHT.sub("", css).strip().splitlines()
    colored = [_filled(rule, dark) for rule in rules if "var(" in rule]
    lines = [":root { color-scheme: light dark; }", *(_filled(rule, light) for rule in rules)]
    return Markup("\n".join([*lines, "@media (prefers-color-scheme: dark) {", *colored, "}"]))


def _filled(rule: str, values: Mapping[str, str]) -> str:
    return _USE.sub(lambda use: values[use[1]], rule)


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all: an earlier one survives a failure."""
    write_atomically(path, text.encode())
    return path
