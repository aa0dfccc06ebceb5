"""Docstrings say it in reStructuredText where help() should read well; the pages are Markdown."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_MATH = re.compile(r"^( *)\.\. math:: *(.*\n(?:\1 +\S.*\n)*)", re.MULTILINE)
_MATH_ROLE = re.compile(r":math:`([^`]+)`")
_ROLE = re.compile(r":\w+:`~?([\w.]+)`")
# The section that is set as code; as text, brackets in its lines would be links.
_EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


class Markdown(griffe.Extension):
    """Formulas become blocks, cross-references and examples become code."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _as_markdown(obj.docstring.value)


def _as_markdown(text: str) -> str:
    text = _MATH.sub(lambda found: _block(found[1], found[2]), text)
    text = _MATH_ROLE.sub(r"$`\1`$", text)
    text = _EXAMPLE.sub(r"\1Examples:", text)
    return _ROLE.sub(lambda role: f"`{role[1].split('.')[-1]}`", text)


def _block(indent: str, formula: str) -> str:
    lines = "\n".join(line.strip() for line in formula.splitlines())
    return textwrap.indent(f"```math\n{lines}\n```\n", indent)
