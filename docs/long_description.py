"""README.md as a package index shows it: without a link or a picture that leads nowhere.

An index shows the text alone, so that relative targets break there. Where pyproject.toml says, in
the table ``[tool.hatch.metadata.hooks.custom]``, at which address the repository can be read, they
become absolute. Until then pictures are left out, a link becomes its words and the file, and what
has no sense without them, between ``<!-- repository -->`` and ``<!-- /repository -->``, is left
out. hatch_metadata.py asks for it.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(
    r"^<!-- repository -->\n(.*?)^<!-- /repository -->\n+", re.MULTILINE | re.DOTALL
)
_PICTURE = re.compile(r"!\[([^\]]*)\]\((?!https?:)([^)\s]+)\)(\n(?=\n))?")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:)([^)\s]+)\)")


def long_description(readme: str, pages: str = "", pictures: str = "") -> str:
    """Return the description of the package.

    Args:
        readme: README.md.
        pages: Where its relative links are to be read, ending with "/"; empty if nowhere.
        pictures: Where its pictures are as files; empty if nowhere.

    Example:
        >>> long_description("see [this](docs/a.md)", pages="https://example.org/blob/main/")
        'see [this](https://example.org/blob/main/docs/a.md)'
        >>> long_description("see [this](docs/a.md)")
        'see this (docs/a.md)'
    """
    text = _BLOCK.sub(r"\1\n" if pages and pictures else "", readme)
    parts = _CODE.split(text)
    # A link's words may hold code: they are joined again before links are read.
    kept: list[str] = []
    for k, part in enumerate(parts):
        if k % 2 and part.startswith("```"):
            kept.append(part)
            parts[k] = f"\0{len(kept) - 1}\0"
    text = "".join(parts)
    text = _PICTURE.sub(
        lambda found: f"![{found[1]}]({pictures}{found[2]}){found[3] or ''}" if pictures else "",
        text,
    )
    text = _LINK.sub(lambda found: _link(found[1], found[2], pages), text)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], text)


def _link(words: str, target: str, pages: str) -> str:
    if not pages:
        file = target.partition("#")[0]
        return words if not file or file.endswith(words) else f"{words} ({file})"
    return f"[{words}]({pages}{'README.md' if target.startswith('#') else ''}{target})"
