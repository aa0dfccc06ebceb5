"""Build steps of the site: formulas, pictures, the reference in pages, the explorer's page.

Formulas are TeX in the pages, as GitHub reads it: in fences called ``math``, or between ``$`` and
backticks. Here they become SVG, set by matplotlib in the reader's own text color, so that the site
needs no script and no network to show them.

docs/api.md lists what the reference describes, a line ``::: name`` each; every name gets a page.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

EXPLORER = "explorer-page.html"
REFERENCE = "api.md"
_DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
_INLINE = re.compile(r"\$<code>(.+?)</code>\$", re.DOTALL)
_BLOCK = re.compile(r'<pre class="math"><code>(.*?)</code></pre>', re.DOTALL)
_PICTURE = re.compile(r'<p>(<img [^>]*src="([^"]+)"[^>]*>)</p>')
_SIZE = 10.0  # points at which matplotlib sets; the page scales by em
_FONT = FontProperties(family="STIXGeneral", math_fontfamily="stix")


def fence(source: str, language: str, *_: Any, **__: Any) -> str:
    """Keep a block of TeX as it is until the page is whole."""
    return f'<pre class="{language}"><code>{html.escape(source)}</code></pre>'


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Tell the fences of pages and docstrings alike that ``math`` is TeX; list the reference."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "math", "class": "math", "format": fence}]
    pages: list[Any] = [{"Overview": REFERENCE}]
    pages += [{name.removeprefix("lossmaxpool."): page} for name, page in _reference(config)]
    config.nav = [*(config.nav or []), {"Reference": pages}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the reference, and the explorer's, as ``lossmaxpool explore`` writes it."""
    from lossmaxpool.explorer import example_page

    files.append(File.generated(config, EXPLORER, content=example_page()))
    for name, page in _reference(config):
        content = f"::: {name}\n    options:\n      heading_level: 1\n"
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """In the list of the reference, a line is a link to the page of its name."""
    if page.file.src_uri != REFERENCE:
        return markdown
    return _DIRECTIVE.sub(lambda found: f"- [`{found[1]}`]({_page_of(found[1])})", markdown)


def _reference(config: MkDocsConfig) -> list[tuple[str, str]]:
    """Every name of the reference, and its page."""
    listed = (Path(config.docs_dir) / REFERENCE).read_text(encoding="utf-8")
    return [(name, _page_of(name)) for name in dict.fromkeys(_DIRECTIVE.findall(listed))]


def _page_of(name: str) -> str:
    return f"api/{name.removeprefix('lossmaxpool.')}.md"


def on_page_content(html: str, **_: Any) -> str:
    """Set all formulas of a page; let a picture lead to itself in full size."""
    html = _PICTURE.sub(r'<p class="picture"><a href="\2">\1</a></p>', html)
    html = _BLOCK.sub(lambda found: _lines(found[1]), html)
    return _INLINE.sub(lambda found: _set(found[1]), html)


def _lines(source: str) -> str:
    """A displayed formula; where it has wide gaps, it may be broken on a narrow screen."""
    parts = [_set(part) for part in source.replace(r"\qquad", "\n\n").split("\n\n") if part.strip()]
    return f'<div class="formula">{"".join(parts)}</div>'


def _set(escaped: str) -> str:
    tex = html.unescape(escaped).strip()
    return formula(" ".join(tex.split()))


def formula(tex: str) -> str:
    """Return a formula as an inline SVG, as high as the text around it asks for.

    Args:
        tex: TeX as matplotlib's mathtext reads it.

    Raises:
        ValueError: mathtext does not know a command in it.
    """
    maker, font = TextToPath(), _FONT.copy()
    font.set_size(_SIZE)
    width, height, depth = maker.get_text_width_height_descent(f"${tex}$", font, ismath=True)
    vertices, codes = maker.get_text_path(font, f"${tex}$", ismath=True)
    scale = _SIZE / maker.FONT_SCALE
    path = _path([(scale * x, -scale * y) for x, y in vertices], list(codes))
    edge = 0.3  # of antialiased strokes
    box = (-edge, depth - height - edge, width + 2 * edge, height + 2 * edge)
    view = " ".join(f"{value:.2f}" for value in box)
    em = f"width:{box[2] / _SIZE:.3f}em;height:{box[3] / _SIZE:.3f}em"
    return (
        f'<svg class="tex" role="img" aria-label="{html.escape(tex)}" viewBox="{view}" '
        f'style="{em};vertical-align:{-(depth + edge) / _SIZE:.3f}em"><path d="{path}"/></svg>'
    )


def _path(points: list[tuple[float, float]], codes: list[int]) -> str:
    letters = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    needed = {1: 1, 2: 1, 3: 2, 4: 3, 79: 1}
    parts, i = [], 0
    while i < len(codes):
        code = codes[i]
        taken = points[i : i + needed[code]]
        i += needed[code]
        if code == 79:
            parts.append("Z")
            continue
        parts.append(letters[code] + " ".join(f"{x:.2f} {y:.2f}" for x, y in taken))
    return "".join(parts)
