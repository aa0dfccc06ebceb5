"""Runs JavaScript in headless Chromium, or in Node where there is no browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
NODE = shutil.which("node")


def dump_dom(page: Path, fragment: str = "", width: int = 1400) -> str:
    """The document after a page's scripts have run; fails on whatever the console says."""
    result = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={page.parent / 'profile'}",
            f"--window-size={width},1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
            page.as_uri() + fragment,
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert "CONSOLE" not in result.stderr, result.stderr
    return result.stdout


def evaluate(script: str, expression: str, folder: Path) -> Any:
    """The value of an expression after a script, by way of JSON."""
    if CHROMIUM is not None:
        page = folder / "evaluate.html"
        found = f"document.body.textContent = JSON.stringify({expression});"
        page.write_text(
            f"<!doctype html><meta charset='utf-8'><body><script>{script}\n{found}</script>",
            encoding="utf-8",
        )
        body = re.search(r"<body>(.*?)</body>", dump_dom(page), re.DOTALL)
        assert body
        return json.loads(html.unescape(body[1]))
    if NODE is not None:
        file = folder / "evaluate.js"
        file.write_text(f"{script}\nconsole.log(JSON.stringify({expression}));", encoding="utf-8")
        result = subprocess.run(
            [NODE, str(file)], capture_output=True, text=True, encoding="utf-8", check=True
        )
        return json.loads(result.stdout)
    pytest.skip("neither chromium nor node is on this machine to run the explorer's mathematics")
