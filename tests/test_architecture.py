"""docs/architecture.md: imports run downwards; the operator needs only torch. Names and prose."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "lossmaxpool"
ROOT = PACKAGE.parents[1]
FILES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = sorted(
    path
    for folder in ("src", "benchmarks", "reproduction", "tests", "docs")
    for path in (ROOT / folder).rglob("*.py")
)
# An adapter has the name by which its framework's users would look for the loss.
SHARED_NAMES = frozenset({"MaxPoolingLoss"})
# British spellings; the option of version 0.1 that is still understood keeps its own.
BRITISH = re.compile(
    r"(?i)\b\w*(?:colour|labell(?:ed|ing)|neighbour|behaviour|favour|centre[ds]?\b|\bgrey|"
    r"(?<!optim)isation|(?:normal|maxim|minim|synchron|serial|recogn)is(?:e|ing)|analyse)\w*"
)
RIDDLE = re.compile(r"#?:?\s*(What|Who|Whoever)\b")

# Below every floor: single files that know nothing of losses, images or runs.
GROUND = frozenset({"_version", "atomic", "checks", "environment", "processes"}) | frozenset(
    {"classes", "crops", "import_paths", "options"}
)
# The rooms of the house, floor by floor. A room sees the floors below its own, never its
# neighbors: what two neighbors share belongs to a floor below them.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"scenes"}),
    frozenset({"paper", "metrics", "data", "models", "ops"}),
    frozenset({"functional", "sampling"}),
    frozenset({"losses", "diagnostics", "runs"}),
    frozenset({"inference", "adapters"}),
    frozenset({"training"}),
    frozenset({"report", "explorer"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
FLOOR = {room: number for number, rooms in enumerate((GROUND, *FLOORS), -1) for room in rooms}

# Packages with an explicit, stricter list of allowed imports.
ONLY = {
    "paper": frozenset[str](),  # the oracle shares no code with the implementation
    "report": GROUND | {"metrics", "runs"},  # reads run folders, never trains
}

# Third-party packages that may be imported: `pip install lossmaxpool` runs the rows of torch alone.
THIRD_PARTY = {
    "_version": frozenset[str](),
    "atomic": frozenset[str](),
    "checks": frozenset[str](),
    "crops": frozenset({"torch"}),
    "environment": frozenset({"torch"}),
    "import_paths": frozenset[str](),
    "classes": frozenset({"torch"}),
    "options": frozenset[str](),
    "processes": frozenset[str](),
    "ops": frozenset({"torch", "triton"}),
    "sampling": frozenset({"torch"}),
    "functional": frozenset({"torch"}),
    "losses": frozenset({"torch"}),
    "diagnostics": frozenset({"torch"}),
    # Of these, each file imports the framework that it adapts to.
    "adapters": frozenset({"torch", "jax", "nnunetv2", "mmseg"}),
    "metrics": frozenset({"torch"}),
    "paper": frozenset({"numpy"}),
    "scenes": frozenset({"numpy", "PIL"}),
    "data": frozenset({"torch", "torchvision", "numpy", "PIL", "scipy"}),
    "models": frozenset(
        {"torch", "timm", "huggingface_hub", "segmentation_models_pytorch", "safetensors"}
    ),
    "runs": frozenset({"torch", "pydantic", "pydantic_core", "yaml"}),
    "training": frozenset({"torch", "lightning", "numpy", "matplotlib", "PIL", "rich", "yaml"})
    | frozenset({"ray"}),
    "inference": frozenset({"torch", "numpy", "PIL", "safetensors", "onnxruntime", "scipy"}),
    "report": frozenset({"torch", "matplotlib", "adjustText", "scipy", "jinja2", "markupsafe"})
    | frozenset({"numpy", "PIL"}),
    "explorer": frozenset({"torch", "PIL", "jinja2", "markupsafe"}),
    "cli": frozenset({"torch", "lightning", "jsonargparse", "yaml"}),
    "__main__": frozenset[str](),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def room(module: str) -> str:
    """``lossmaxpool.data.sample`` is in ``data``; the root package is in no group."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[str]:
    """Every imported module, including lazy imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in MODULES else module


def own(path: Path) -> set[str]:
    """The modules of this package that a file imports."""
    return {name for name in imports(path) if name.split(".")[0] == "lossmaxpool"}


def may_import(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    if importer in ONLY:
        return imported in ONLY[importer]
    return imported in GROUND or FLOOR[imported] < FLOOR[importer]


def test_every_module_has_a_floor() -> None:
    rooms = {room(name) for name in MODULES} - {""}
    assert rooms == FLOOR.keys() == THIRD_PARTY.keys()


@pytest.mark.parametrize("module", [name for name in MODULES if room(name)])
def test_imports_run_downwards(module: str) -> None:
    here = room(module)
    seen = {room(name) for name in own(MODULES[module])}
    assert "" not in seen, f"{module} imports the package itself, which imports upper floors"
    wrong = sorted(other for other in seen if not may_import(here, other))
    assert not wrong, f"{module} (floor {FLOOR[here]}) may not import {wrong}"


def test_the_package_itself_shows_losses_and_sampler_and_nothing_above() -> None:
    seen = {room(name) for name in own(PACKAGE / "__init__.py")}
    assert seen == {"_version", "functional", "losses", "ops", "paper", "sampling"}


def test_nobody_imports_the_adapters() -> None:
    users = [name for name, path in MODULES.items() if "adapters" in map(room, own(path))]
    assert [name for name in users if room(name) != "adapters"] == []


def test_no_module_is_imported_in_a_circle() -> None:
    graph = {name: own(path) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", [name for name in MODULES if room(name)])
def test_third_party_imports_stay_where_they_are_needed(module: str) -> None:
    foreign = {name.split(".")[0] for name in imports(MODULES[module])}
    foreign -= {"lossmaxpool", *sys.stdlib_module_names}
    wrong = sorted(foreign - THIRD_PARTY[room(module)])
    assert not wrong, f"{module} imports {wrong}"


def test_no_module_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert not [name for name in MODULES if vague & set(name.strip("_").split("."))]


def test_a_class_name_has_one_meaning() -> None:
    found = defaultdict(list)
    for path in ALL_FILES:
        if path.relative_to(ROOT).parts[0] in {"src", "benchmarks", "reproduction"}:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name not in SHARED_NAMES:
                    found[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    twice = {name: places for name, places in found.items() if len(places) > 1}
    assert not twice, "name the second class by what sets it apart"


def prose(source: str) -> Iterator[tuple[int, str]]:
    """The comments and docstrings of a file, with their lines."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and (doc := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), doc
    before = tokenize.NL
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if before != tokenize.COMMENT:  # the first line of a comment alone
                yield token.start[0], token.string
            before = tokenize.COMMENT
        elif token.type != tokenize.NL:
            before = token.type


def riddles(source: str) -> list[int]:
    return [line for line, text in prose(source) if RIDDLE.match(text)]


def test_comments_and_docstrings_name_their_subject() -> None:
    found = {path: riddles(path.read_text(encoding="utf-8")) for path in ALL_FILES}
    wrong = [f"{path.relative_to(ROOT)}:{line}" for path, lines in found.items() for line in lines]
    assert not wrong, "name the thing instead of 'What ...'"


def test_spelling_is_american() -> None:
    here = Path(__file__)
    texts = {path: path.read_text(encoding="utf-8") for path in ALL_FILES if path != here}
    found = {str(path.relative_to(ROOT)): BRITISH.findall(text) for path, text in texts.items()}
    assert not {path: words for path, words in found.items() if words}


def test_an_opening_what_is_found() -> None:
    assert riddles('"""What it does."""\n') == [1]
    assert riddles("x = 1  # What follows.\n") == [1]
    assert riddles("# Says\n# What follows.\ndef f():\n    'Whatever.'\n") == []


def test_the_rule_itself_refuses_what_it_should() -> None:
    assert may_import("training", "losses")
    assert may_import("report", "metrics")
    assert may_import("data", "checks")
    assert not may_import("data", "models"), "neighbors"
    assert may_import("training", "inference")
    assert not may_import("inference", "training"), "upwards"
    assert not may_import("ops", "functional"), "upwards"
    assert not may_import("checks", "data"), "upwards"
    assert not may_import("paper", "checks"), "the oracle"
    assert not may_import("report", "training"), "the run folder couples the two"
