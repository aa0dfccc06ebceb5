"""The code snippets of the documentation run unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Pages whose snippets need neither a data set nor a checkpoint.
PAGES = ("README.md", "docs/index.md", "docs/operator.md", "docs/choosing.md", "docs/rivals.md")
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_snippets_run(page: str) -> None:
    snippets = SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))
    assert snippets
    names: dict[str, Any] = {}  # a page is read from the top: later snippets see earlier names
    for snippet in snippets:
        exec(compile(snippet, page, "exec"), names)
