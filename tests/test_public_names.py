"""Every public name is documented, listed in docs/api.md, and its example runs."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import lossmaxpool

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGES = (
    "lossmaxpool",
    "lossmaxpool.losses",
    "lossmaxpool.diagnostics",
    "lossmaxpool.paper",
    "lossmaxpool.sampling",
    "lossmaxpool.data",
    "lossmaxpool.models",
    "lossmaxpool.training",
    "lossmaxpool.inference",
    "lossmaxpool.explorer",
    "lossmaxpool.report",
)
# Imported by every script that uses a loss.
EXAMPLES_SEE = {"torch": torch, "nn": nn, "Path": Path} | {
    name: getattr(lossmaxpool, name) for name in lossmaxpool.__all__
}


def public(package: str) -> list[tuple[str, Any]]:
    """The functions and classes of ``__all__``: constants and type aliases have no docstring."""
    module = importlib.import_module(package)
    found = [(f"{package}.{name}", getattr(module, name)) for name in module.__all__]
    return [
        (name, thing) for name, thing in found if inspect.isroutine(thing) or inspect.isclass(thing)
    ]


NAMES = [pair for package in PACKAGES for pair in public(package)]
IDS = [name for name, _ in NAMES]
AT_THE_FRONT = frozenset(f"lossmaxpool.{name}" for name in lossmaxpool.__all__)


def parameters(thing: Any) -> list[str]:
    """The parameters to document; not required for exceptions."""
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return []
    if inspect.isclass(thing) and thing.__init__ is object.__init__:
        return []
    return [name for name in inspect.signature(thing).parameters if name != "self"]


def sections(doc: str) -> dict[str, str]:
    """The sections of a Google docstring: ``{"Args": "...", "Returns": "..."}``."""
    heads = re.split(r"^(\w+):\n(?= {4})", doc, flags=re.MULTILINE)
    return dict(zip(heads[1::2], heads[2::2], strict=True))


def raises(thing: Any) -> bool:
    """Whether the thing itself, not what it calls, has a ``raise``."""
    body = thing
    if inspect.isclass(thing):  # a dataclass has its __init__ written, and checks in __post_init__
        start = "__post_init__" if dataclasses.is_dataclass(thing) else "__init__"
        body = vars(thing).get(start)
    if body is None:
        return False
    tree = ast.parse(textwrap.dedent(inspect.getsource(body)))
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))


@pytest.mark.parametrize(("name", "thing"), NAMES, ids=IDS)
def test_docstring_opens_with_a_sentence(name: str, thing: Any) -> None:
    doc = thing.__doc__ or ""  # not inspect.getdoc: that inherits
    assert not (dataclasses.is_dataclass(thing) and doc.startswith(f"{thing.__name__}(")), name
    assert doc.strip().split("\n")[0].endswith((".", ":", "?")), f"{name}: {doc!r}"


@pytest.mark.parametrize(("name", "thing"), NAMES, ids=IDS)
def test_parameters_are_explained(name: str, thing: Any) -> None:
    doc = sections(inspect.getdoc(thing) or "")
    explained = doc.get("Args", "") + doc.get("Attributes", "")
    taken = parameters(thing)
    if not explained and len(taken) == 1 and name not in AT_THE_FRONT:
        return  # a lone parameter is in the opening sentence
    missing = [p for p in taken if not re.search(rf"^ +\**{p}\b.*:", explained, re.MULTILINE)]
    assert not missing, f"{name} has no entry under Args for {missing}"


@pytest.mark.parametrize(("name", "thing"), NAMES, ids=IDS)
def test_result_is_explained(name: str, thing: Any) -> None:
    if inspect.isclass(thing) or inspect.signature(thing).return_annotation in (None, "None"):
        return
    doc = inspect.getdoc(thing) or ""
    if doc.startswith("The ") and name not in AT_THE_FRONT:
        return  # the opening sentence names the result
    assert "Returns" in sections(doc), f"{name} returns something"


@pytest.mark.parametrize(("name", "thing"), NAMES, ids=IDS)
def test_errors_are_explained(name: str, thing: Any) -> None:
    if raises(thing):
        assert "Raises" in sections(inspect.getdoc(thing) or ""), f"{name} raises"


@pytest.mark.parametrize("name", lossmaxpool.__all__)
def test_name_is_in_the_documentation(name: str) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert re.search(rf"\b{re.escape(name)}\b", text), f"docs/api.md does not mention {name}"


def with_examples() -> list[str]:
    return [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(SOURCE.rglob("*.py"))
        if ">>> " in path.read_text(encoding="utf-8")
    ]


def run_examples(module: ModuleType) -> doctest.TestResults:
    names = EXAMPLES_SEE | vars(module)
    return doctest.testmod(module, globs=names, optionflags=doctest.ELLIPSIS)


@pytest.mark.parametrize("module", with_examples())
def test_examples_run(module: str) -> None:
    results = run_examples(importlib.import_module(module))
    assert results.failed == 0, "doctest's account is above"


def test_an_example_that_is_wrong_fails(capsys: pytest.CaptureFixture[str]) -> None:
    module = ModuleType("wrong", ">>> 1 + 1\n3\n")
    assert run_examples(module).failed == 1
    assert "Expected" in capsys.readouterr().out
