"""The results file of a run, as bars, tables and pictures read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.speed.contenders import BASELINE

RESULTS = Path(__file__).resolve().parents[1] / "results"


def results_file(device: str) -> Path:
    """Where the run on "cpu" or "cuda" is kept."""
    return RESULTS / f"loss-{device}.json"


def read(device: str) -> Results | None:
    """The committed run on a device; None: it was never measured."""
    path = results_file(device)
    return Results(json.loads(path.read_text())) if path.exists() else None


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
