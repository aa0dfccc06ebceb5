"""The page in a real browser: no sideways scrolling, no console errors, every picture decoded."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lossmaxpool.report import write_report
from lossmaxpool.report.page import script_hash
from tests.browser import CHROMIUM, dump_dom

PROBE = """
const violations = [];
addEventListener("securitypolicyviolation", event => violations.push(event.violatedDirective));
addEventListener("load", () => {
  const root = document.documentElement;
  parent.postMessage(JSON.stringify({
    violations,
    inner: innerWidth,
    scroll: root.scrollWidth,
    client: root.clientWidth,
    decoded: [...document.images].every(image => !image.src || image.naturalWidth > 0),
    viewers: [...document.querySelectorAll(".viewer")].filter(v => v.clientWidth > 0).length,
    buttons: document.querySelectorAll("th button").length,
    images: document.images.length,
    figures: [...document.querySelectorAll("svg.figure, svg.matrix")]
      .filter(f => f.clientWidth > 0).length,
    smallest: Math.min(...[...document.querySelectorAll("svg.figure text, svg.matrix text")]
      .filter(text => text.getBoundingClientRect().width > 0)
      .map(text => parseFloat(getComputedStyle(text).fontSize) *
                   text.ownerSVGElement.getScreenCTM().a)),
  }), "*");
});
"""
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
    # The page's policy allows its own script alone, so the probe's copy names the probe, too.
    assert text.count("script-src ") == 1
    copy = tmp_path / "probed.html"
    copy.write_text(
        text.replace("script-src ", f"script-src &#39;{script_hash(PROBE)}&#39; ").replace(
            "</head>", f"<script>{PROBE}</script></head>"
        ),
        encoding="utf-8",
    )
    host = tmp_path / "host.html"
    host.write_text(HOST.format(width=width, height=height), encoding="utf-8")
    document = dump_dom(host)  # which fails on any message of the console
    found = re.search('data-probe="([^"]*)"', document)
    assert found, document
    probe = json.loads(html.unescape(found[1]))
    assert probe["inner"] == width
    assert probe["scroll"] <= probe["client"]
    assert probe["violations"] == []
    assert probe["decoded"]
    # Eight pictures of two examples each, and two more in the viewer of each.
    assert probe["images"] == 2 * (8 + 2) + 1
    assert probe["viewers"] == 2
    assert probe["buttons"] >= 5
    assert probe["figures"] == 2 + 1 + 2 + 3  # gains, classes, curves, confusion matrices
    assert probe["smallest"] >= 9.5  # pixels of the smallest text in a drawing
