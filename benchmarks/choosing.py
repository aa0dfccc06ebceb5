"""The effect of p and min_support on the weights of a heavy-tailed loss map.

    python -m benchmarks.choosing

50,000 log-normal losses; the table goes to benchmarks/results/choosing.md and .json.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from tests.cases import lognormal

from lossmaxpool import solve
from lossmaxpool.environment import describe_environment

RESULTS = Path(__file__).parent / "results"
PIXELS = 50_000
CHOICES = (
    *((p, 0.25) for p in (1.0, 1.1, 1.3, 1.7, 2.0, 4.0, math.inf)),
    *((1.3, share) for share in (0.01, 0.05, 0.1, 0.5, 1.0)),
)
HEADER = ("p", "support", "value / mean", "cap × n", "top 10 %", "top 25 %", "rest")


def row(losses: torch.Tensor, p: float, share: float) -> list[float]:
    """Value over mean, cap times n, and the weight on the hardest pixels and on the rest."""
    solution = solve(losses.unsqueeze(0), p=p, min_support=share)
    weights = solution.weights[0]
    tenth, quarter = (weights[: int(part * PIXELS)].sum().item() for part in (0.1, 0.25))
    return [
        solution.value.item() / losses.mean().item(),
        solution.weight_cap.item() * PIXELS,
        tenth,
        quarter,
        weights.sum().item() - quarter,
    ]


def main() -> None:
    rng = np.random.default_rng(0)
    losses = torch.from_numpy(lognormal(rng, PIXELS)).sort(descending=True).values
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    rows = []
    for p, share in CHOICES:
        figures = row(losses, p, share)
        rows.append({"p": "inf" if math.isinf(p) else p, "min_support": share, "figures": figures})
        cells = [f"{p:g}", f"{share:g}", *(f"{figure:.2f}" for figure in figures)]
        lines.append("| " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    print(table)
    content = {
        "command": "python -m benchmarks.choosing",
        "environment": describe_environment(torch.device("cpu"), 1),
        "columns": HEADER[2:],
        "rows": rows,
    }
    (RESULTS / "choosing.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    (RESULTS / "choosing.md").write_text(table + "\n")


if __name__ == "__main__":
    main()
