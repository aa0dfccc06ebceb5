"""Makes docs/tutorial.ipynb from docs/tutorial.md: code to run becomes cells, the rest is text.

Run from anywhere: ``python docs/notebook.py``
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "tutorial.md"
_CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([\w-]+)\.md")


def notebook(page: str) -> dict[str, Any]:
    """Return a page as a notebook; its links to other pages lead to their HTML beside it."""
    cells = []
    for k, part in enumerate(_CODE.split(page)):
        text = part.strip("\n")
        if not text:
            continue
        cell: dict[str, Any] = {"id": f"cell-{k}", "metadata": {}}
        if k % 2:
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
        else:
            cell["cell_type"] = "markdown"
            text = _LINK.sub(r"](\1.html", text)
        cells.append(cell | {"source": text.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def as_text(page: str) -> str:
    """Return the notebook's file."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.with_suffix(".ipynb").write_text(as_text(PAGE.read_text("utf-8")), encoding="utf-8")
