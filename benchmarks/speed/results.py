"""The results file of a run, as bars, tables and pictures read it."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.speed.contenders import BASELINE

RESULTS = Path(__file__).resolve().parents[1] / "results"
OPS = RESULTS.parents[1] / "src" / "lossmaxpool" / "ops"


def results_file(device: str) -> Path:
    """Where the run on "cpu" or "cuda" is kept."""
    return RESULTS / f"loss-{device}.json"


def read(device: str) -> Results | None:
    """The committed run on a device; None: it was never measured."""
    path = results_file(device)
    return Results(json.loads(path.read_text())) if path.exists() else None


def kernels_on_gpu(folder: Path = OPS) -> dict[str, str]:
    """Of which sources a GPU runs the losses: their digest, and the commit if it holds them."""
    found = {"ops_digest": ops_digest(folder)}
    said = []
    for command in (["status", "--porcelain", "."], ["rev-parse", "--short=7", "HEAD"]):
        git = ["git", "-C", str(folder), *command]
        try:
            done = subprocess.run(git, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
            return found
        said.append(done.stdout.strip())
    altered, commit = said
    return found if altered else found | {"ops_commit": commit}


def ops_digest(folder: Path = OPS) -> str:
    """Of all the operator's Python but the native backend; comments and docstrings are left out."""
    digest = sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("backends/native/"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            digest.update("\n".join([name, *_words(tree), ""]).encode())
    return digest.hexdigest()[:16]


def _words(tree: ast.AST) -> Iterator[str]:
    """A syntax tree in the same words from every version of Python."""
    yield type(tree).__name__
    for field, value in ast.iter_fields(tree):
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, ast.AST):
                if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)):
                    yield field
                    yield from _words(part)
            elif part is not None and field not in ("kind", "type_comment"):
                yield f"{field}={part!r}"


class Results:
    """The content of a result file."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.cases = [MeasuredCase(case) for case in content["cases"]]

    def of(self, kind: str, **wanted: Any) -> list[MeasuredCase]:
        """The cases of a kind whose fields have these values, in the order of the run."""
        return [
            case
            for case in self.cases
            if case.kind == kind
            and all(case.content[name] == value for name, value in wanted.items())
        ]


class MeasuredCase:
    """One case of a run; None where a quantity was not measured."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.kind: str = content["kind"]
        self.shape: list[int] = content["shape"]
        self.contenders: dict[str, dict[str, float | None]] = content["contenders"]

    @property
    def ours(self) -> str:
        """The contender that ``backend="auto"`` takes; for losses, the solver."""
        name: str | None = self.content["auto"]
        return name or "lmp"

    def get(self, contender: str, measure: str) -> float | None:
        """A figure of a contender."""
        return self.contenders.get(contender, {}).get(measure)

    def ratio(
        self, contender: str, rival: str = BASELINE, measure: str = "median_ms"
    ) -> float | None:
        """A contender's figure over a rival's."""
        mine, other = self.get(contender, measure), self.get(rival, measure)
        return mine / other if mine is not None and other else None

    @property
    def floor_ms(self) -> float | None:
        """How long the floor's bytes take at the bandwidth of the clone, which moves two passes."""
        clone = self.get("clone", "median_ms")
        passes: float = self.content["floor_bytes"] / self.content["logits_bytes"]
        return None if clone is None else clone * passes / 2

    def of_clone(self, contender: str) -> float | None:
        """Bandwidth of the floor's bytes, as a share of what the clone reaches."""
        floor, time = self.floor_ms, self.get(contender, "median_ms")
        return None if floor is None or not time else floor / time
