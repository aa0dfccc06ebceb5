"""The page in a real browser: no sideways scrolling, no console errors, every picture decoded."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lossmaxpool.report import write_report
from lossmaxpool.report.page import POLICY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
PROBE = """<script>
const violations = [];
addEventListener("securitypolicyviolation", event => violations.push(event.violatedDirective));
addEventListener("load", () => {
  const root = document.documentElement;
  parent.postMessage(JSON.stringify({
    violations,
    inner: innerWidth,
    scroll: root.scrollWidth,
    client: root.clientWidth,
    decoded: [...document.images].every(image => image.naturalWidth > 0),
    images: document.images.length,
    figures: [...document.querySelectorAll("svg.figure")].filter(f => f.clientWidth > 0).length,
    smallest: Math.min(...[...document.querySelectorAll("svg.figure text")]
      .filter(text => text.getBoundingClientRect().width > 0)
      .map(text => parseFloat(getComputedStyle(text).fontSize) *
                   text.ownerSVGElement.getScreenCTM().a)),
  }), "*");
});
</script></head>"""
# A browser's window is never narrower than 500 pixels; a frame may be as narrow as a phone.
HOST = """<!doctype html><script>
addEventListener("message", event => document.documentElement.dataset.probe = event.data);
</script><iframe src="probed.html" style="border:0;width:{width}px;height:{height}px"></iframe>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to render the page")
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_the_page_fits(
    make_runs: Callable[..., list[Path]], tmp_path: Path, width: int, height: int
) -> None:
    runs = make_runs("base", "loss-only", "bootstrap")
    page = write_report(runs, tmp_path / "report")
    text = page.read_text(encoding="utf-8")
    # The page's own policy forbids scripts, so the probe's copy allows its inline one alone.
    policy = html.escape(POLICY)
    assert policy in text
    copy = tmp_path / "probed.html"
    copy.write_text(
        text.replace(policy, f"{policy}; script-src &#x27;unsafe-inline&#x27;").replace(
            "</head>", PROBE
        ),
        encoding="utf-8",
    )
    host = tmp_path / "host.html"
    host.write_text(HOST.format(width=width, height=height), encoding="utf-8")
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
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
            host.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search('data-probe="([^"]*)"', result.stdout)
    assert found, result.stderr
    probe = json.loads(html.unescape(found[1]))
    assert probe["inner"] == width
    assert probe["scroll"] <= probe["client"]
    assert probe["violations"] == []
    assert probe["decoded"]
    assert probe["images"] == 2 * 8
    assert probe["figures"] == 2 + 1 + 2  # one drawing each of gains, classes and curves is shown
    assert probe["smallest"] >= 9.5  # pixels of the smallest text in a drawing
    assert "CONSOLE" not in result.stderr
