"""The documentation holds what it says: its code runs, its numbers are measured, it is whole."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmarks.drawing import svg_texts, texts

import lossmaxpool
from benchmarks import pictures

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Pages whose snippets need neither a data set nor a checkpoint.
PAGES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "index",
            "operator",
            "choosing",
            "rivals",
            "diagnostics",
            "frameworks",
            "coming-from",
        )
    ),
)
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"^```math\n(.*?)^```$|\$`(.+?)`\$", re.MULTILINE | re.DOTALL)


def module(name: str) -> ModuleType:
    """A script of the docs, which are no package."""
    found = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert found
    assert found.loader
    loaded = importlib.util.module_from_spec(found)
    found.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("page", PAGES)
def test_snippets_run(page: str) -> None:
    snippets = SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))
    assert snippets
    names: dict[str, Any] = {}  # a page is read from the top: later snippets see earlier names
    for snippet in snippets:
        exec(compile(snippet, page, "exec"), names)


def test_the_tutorial_runs_from_a_folder_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cell by cell, as the notebook runs."""
    content = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()
    assert (tmp_path / "explorer.html").is_file()
    assert "No problems found" in capsys.readouterr().out


def test_the_notebook_is_the_tutorial() -> None:
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    made = module("notebook").as_text(page)
    assert (DOCS / "tutorial.ipynb").read_text(encoding="utf-8") == made, "python docs/notebook.py"


@pytest.mark.parametrize("page", sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")))
def test_formulas_can_be_set(page: str) -> None:
    for block, inline in FORMULA.findall((DOCS / page).read_text(encoding="utf-8")):
        drawn = module("hooks").formula(" ".join((block or inline).split()))
        assert drawn.startswith('<svg class="tex"')


def test_formulas_of_docstrings_can_be_set() -> None:
    read = module("docstrings")
    found = 0
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = read._as_markdown(inspect.cleandoc(path.read_text(encoding="utf-8")))
        for block, inline in re.findall(r"```math\n(.*?)```|\$`(.+?)`\$", text, re.DOTALL):
            assert module("hooks").formula(" ".join((block or inline).split()))
            found += 1
    assert found > 3


@pytest.mark.parametrize("name", pictures.DRAWN)
def test_a_picture_is_of_the_committed_results(name: str) -> None:
    drawn = svg_texts((DOCS / "images" / name).read_text(encoding="utf-8"))
    assert texts(pictures.DRAWN[name]()) <= drawn


def test_the_first_screen_says_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    content = json.loads((pictures.RESULTS / pictures.FIRST_SCREEN).read_text(encoding="utf-8"))
    before, after = (100 * content["mIoU"][name] for name in (pictures.BEFORE, pictures.AFTER))
    assert f"{before:.1f} with cross-entropy, {after:.1f} with loss max-pooling" in readme
    assert f"after {content['steps']} steps" in readme


def test_links_and_pictures_lead_somewhere() -> None:
    """In the README, too, which mkdocs does not read."""
    for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))):
        text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            known = (path.parent / target).exists() or target == module("hooks").EXPLORER
            assert known, f"{path.name}: {target}"


def test_the_site_builds_without_a_warning_and_has_a_page_of_every_public_name(
    tmp_path: Path,
) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs, of the extra dev, is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in lossmaxpool.__all__:
        thing = getattr(lossmaxpool, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            pages = [*(tmp_path / "api").glob(f"{name}.html")]
            pages += (tmp_path / "api").glob(f"*.{name}.html")
            assert len(pages) == 1, f"docs/api.md lists no ::: lossmaxpool.{name}"
            assert f'.{name}" class="doc' in pages[0].read_text(encoding="utf-8")
    operator = (tmp_path / "operator.html").read_text(encoding="utf-8")
    assert operator.count('<svg class="tex"') > 10
    # What a page needs is beside it: nothing is fetched.
    for path in tmp_path.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)', path.read_text("utf-8")
        )
        assert not fetched, path.name
    assert (tmp_path / "search" / "search_index.js").is_file()
