"""docs/paper.md: every row names an existing function and test, and the list is complete."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
CELL = re.compile(r"(?<!\\)\|")


class Row(NamedTuple):
    paper: str
    function: str
    test: str


def rows() -> list[Row]:
    found = []
    for line in (ROOT / "docs" / "paper.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("|") and not line.startswith(("| Paper ", "|--")):
            paper, _, function, test = (cell.strip() for cell in CELL.split(line)[1:-1])
            found.append(Row(paper, function.strip("`"), test.strip("`")))
    return found


ROWS = rows()


@pytest.mark.parametrize("row", ROWS, ids=[row.paper for row in ROWS])
def test_function_exists(row: Row) -> None:
    module, name = row.function.split(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("row", ROWS, ids=[row.paper for row in ROWS])
def test_test_exists(row: Row) -> None:
    path, name = row.test.split("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("number", range(2, 12))
def test_every_equation_is_there(number: int) -> None:
    assert any(row.paper.split(",")[0] == f"Eq. {number}" for row in ROWS)


def test_every_line_of_algorithm_1_is_there() -> None:
    lines: set[int] = set()
    for row in ROWS:
        if match := re.match(r"Algorithm 1, lines? (\d+)(?:-(\d+))?", row.paper):
            lines.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    assert lines == set(range(1, 17))


@pytest.mark.parametrize(
    "name", ["Theorem 1", "Theorem 2", *(f"Proposition {k}" for k in (1, 2, 3, 5, 8, 10))]
)
def test_every_theorem_and_cited_proposition_is_there(name: str) -> None:
    assert any(row.paper == name for row in ROWS)
