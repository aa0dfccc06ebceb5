"""The documentation holds what it says: its code runs, its numbers are measured, it is whole."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmarks.drawing import svg_texts, texts
from PIL import Image

import lossmaxpool.models
import lossmaxpool.training
from benchmarks import pictures
from lossmaxpool.models import ModelConfig
from lossmaxpool.runs.config import ReportingConfig, TrainConfig
from tests.data import trees
from tests.training.runs import tiny

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Snippets, counted on their page from 0, of which only the imports are run.
NOT_RUN = {
    ("docs/inference.md", 1): "fits a temperature, for which the tutorial trains too short",
}
# The part in which a page trains the default, or an object of its own, and not the smallest one.
OWN = {"docs/data.md": "data", "docs/models.md": "model"}
# The tutorial is run as a notebook; tests/adapters runs the page of the frameworks inside them.
ELSEWHERE = ("tutorial.md", "frameworks.md")
PAGES = [
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
    if path.name not in ELSEWHERE and SNIPPET.search(path.read_text(encoding="utf-8"))
]
FORMULA = re.compile(r"^```math\n(.*?)^```$|\$`(.+?)`\$", re.MULTILINE | re.DOTALL)


def module(name: str) -> ModuleType:
    """A script of the docs, which are no package."""
    found = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert found
    assert found.loader
    loaded = importlib.util.module_from_spec(found)
    found.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tutorial was followed, cell by cell, with names that pages use."""
    folder = tmp_path_factory.mktemp("home")
    content = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.chdir(folder)
        for cell in content["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    (folder / "printed.txt").write_text(printed.getvalue(), encoding="utf-8")
    shutil.copytree(folder / "runs" / "mine", folder / "runs" / "camvid")
    shutil.copytree(folder / "runs" / "mine" / "lmp-seed0", folder / "runs" / "lmp")
    # Data sets in the layout of their publishers, where the pages look for them.
    trees.camvid(folder / "data" / "camvid", {"train": ["a", "b"], "val": ["c"]})
    splits = {"train": ["2007_1", "2007_2"], "val": ["2007_3"]}
    trees.voc(folder / "data" / "VOCdevkit" / "VOC2012", splits)
    (folder / "photos").mkdir()
    Image.new("RGB", (640, 64), (90, 90, 90)).save(folder / "photos" / "street.png")
    return folder


def test_the_tutorial_leads_from_a_folder_to_a_report(home: Path) -> None:
    assert (home / "runs" / "mine" / "report.html").is_file()
    assert (home / "explorer.html").is_file()
    assert "No problems found" in (home / "printed.txt").read_text(encoding="utf-8")


def make_small(page: str, patch: pytest.MonkeyPatch) -> None:
    """Let training take two steps of the smallest network, and nothing come from a hub."""
    smallest = tiny()
    smallest = replace(
        smallest,
        model=ModelConfig(module="tests.models.test_outside.Tiny"),
        optimization=replace(smallest.optimization, steps=2, batch_size=2),
        reporting=ReportingConfig(eval_every=0, loggers=[], examples=0, evolution=0),
    )
    if page in OWN:
        smallest = replace(smallest, **{OWN[page]: getattr(TrainConfig(), OWN[page])})
    patch.setattr(lossmaxpool.training, "TrainConfig", partial(replace, smallest))
    patch.setattr(
        lossmaxpool.models,
        "ModelConfig",
        lambda *given, **options: ModelConfig(*given, **({"weights": "none"} | options)),
    )
    rows = [{"image": trees.picture(k), "annotation": trees.ids(k, range(151))} for k in (1, 2)]
    hub = ModuleType("datasets")
    hub.load_dataset = lambda name, split: rows  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "datasets", hub)


# The folders of the published sets hold three pictures.
@pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")
@pytest.mark.parametrize("page", PAGES)
def test_snippets_run(page: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    make_small(page, monkeypatch)
    shutil.rmtree("predictions", ignore_errors=True)  # of another page
    names: dict[str, Any] = {}  # a page is read from the top: later snippets see earlier names
    for k, snippet in enumerate(SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))):
        tree = ast.parse(snippet)
        if (page, k) in NOT_RUN:
            tree.body = [s for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
        exec(compile(tree, f"{page}, snippet {k}", "exec"), names)


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
    overall = content["over all seeds"]
    assert overall["low"] > 0
    low, high = (f"+{100 * overall[end]:.1f}" for end in ("low", "high"))
    assert f"+{100 * overall['gain']:.1f} (95 % interval {low} to {high})" in readme


def test_links_and_pictures_lead_somewhere() -> None:
    """In the README, too, which mkdocs does not read."""
    for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))):
        text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            known = (path.parent / target).exists() or target == module("hooks").EXPLORER
            assert known, f"{path.name}: {target}"


@pytest.mark.parametrize("address", ["", "https://example.org/"], ids=["nowhere", "published"])
def test_the_description_on_a_package_index_has_no_broken_link(address: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    written = module("long_description").long_description(
        readme, address and f"{address}blob/", address and f"{address}raw/"
    )
    text = re.sub(r"^```.*?^```$", "", written, flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)", text)
    assert all(target.startswith("https://") for target in targets), targets
    own = [target for target in targets if address and target.startswith(address)]
    for target in own:
        _, _, file = target.removeprefix(address).partition("/")
        assert (ROOT / file.partition("#")[0]).exists(), target
    assert ("![" in text) == bool(own) == bool(address)
    # Every block of code is there as it was.
    assert SNIPPET.findall(written) == SNIPPET.findall(readme)


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
    # Every page is complete: nothing is fetched from elsewhere.
    for path in tmp_path.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)', path.read_text("utf-8")
        )
        assert not fetched, path.name
    assert (tmp_path / "search" / "search_index.js").is_file()
