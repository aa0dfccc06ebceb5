"""How exact is the operator? Solver, gradient and world pool against float64 truth, as a table.

    python -m benchmarks.exactness

Every loss family of the tests, every promised p, sizes up to 10^7 pixels. The oracle is
lossmaxpool.paper. The table goes to benchmarks/results/exactness.json as well.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tests import test_world
from tests.cases import LOSS_FAMILIES, P_VALUES
from tests.ranks import in_ranks
from torch import Tensor

from lossmaxpool import loss_max_pool, solve
from lossmaxpool.environment import describe_environment
from lossmaxpool.paper import theorems

RESULTS = Path(__file__).parent / "results" / "exactness.json"
SIZES = (1, 7, 100, 10_000, 302_500)
LARGEST = 10_000_000
SHARES = (0.25, 0.97)
DTYPES = (torch.float64, torch.float32)
COLUMNS = ("value", "weights", "gap", "norm", "gradient")


def instances(dtype: torch.dtype, largest: bool) -> Iterator[tuple[Tensor, float]]:
    """Losses of one image and the share of pixels that must carry weight."""
    rng = np.random.default_rng(0)
    for n in SIZES:
        for generate in LOSS_FAMILIES.values():
            for share in SHARES:
                yield torch.from_numpy(generate(rng, n)).to(dtype), share
    if largest:
        yield torch.from_numpy(LOSS_FAMILIES["lognormal"](rng, LARGEST)).to(dtype), 0.25


def solver_errors(p: float, dtype: torch.dtype, largest: bool) -> dict[str, float]:
    """The worst errors over all instances: relative to the value, to tau and to gamma."""
    worst = dict.fromkeys(COLUMNS, 0.0)
    for losses, share in instances(dtype, largest):
        n = losses.numel()
        truth = theorems.solve(losses.double().numpy(), p, min(max(share * n, 1.0), n))
        leaf = losses.unsqueeze(0).requires_grad_()
        loss_max_pool(leaf, p=p, min_support=share).backward()
        assert leaf.grad is not None
        found = solve(leaf, p=p, min_support=share)
        cap = found.weight_cap.double().item()
        scale = truth.value or 1.0
        weights = found.weights[0].double()
        norm = torch.linalg.vector_norm(weights / cap, ord=p).item() * cap
        exact = torch.from_numpy(truth.weights)
        errors = {
            "value": abs(found.value.item() - truth.value) / scale,
            "weights": (weights - exact).abs().max().item() / cap,
            "gap": abs(found.duality_gap.item()) / scale,
            "norm": norm / found.norm_bound.double().item() - 1,
            "gradient": (leaf.grad[0].double() - exact).abs().max().item() / cap,
        }
        worst = {name: max(worst[name], error) for name, error in errors.items()}
    return worst


def world_errors(size: int) -> dict[str, float]:
    """Ranks in their own processes against one process with all pixels: value and gradient."""
    with tempfile.TemporaryDirectory() as folder:
        in_ranks(test_world.work, size, Path(folder))
        ranks = [torch.load(Path(folder) / f"{r}.pt", weights_only=True) for r in range(size)]
    value_error = gradient_error = 0.0
    for case, (p, share) in enumerate(test_world.CASES):
        expected, gradients = test_world.one_process(size, p, share)
        for rank in ranks:
            value, averaged = rank[case]
            value_error = max(value_error, abs(value.item() / expected.item() - 1))
            for found, truth in zip(averaged, gradients, strict=True):
                off = (found - truth).abs().max() / truth.abs().max()
                gradient_error = max(gradient_error, off.item())
    return {"value": value_error, "gradient": gradient_error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="leave out the 10^7 pixels")
    quick = parser.parse_args().quick
    rows = []
    print(
        f"{'p':>7} {'dtype':8} {'value':>9} {'weights':>9} {'gap':>9} {'norm':>9} {'gradient':>9}"
    )
    for dtype in DTYPES:
        for p in P_VALUES:
            errors = solver_errors(p, dtype, largest=not quick and dtype == torch.float32)
            name = str(dtype).removeprefix("torch.")
            rows.append({"p": "inf" if math.isinf(p) else p, "dtype": name, **errors})
            figures = " ".join(f"{error:9.1e}" for error in errors.values())
            print(f"{p:7} {name:8} {figures}", flush=True)
    worlds = {size: world_errors(size) for size in (2, 3)}
    for size, errors in worlds.items():
        print(f"world of {size}: value {errors['value']:.1e}, gradient {errors['gradient']:.1e}")
    content = {
        "command": "python -m benchmarks.exactness" + (" --quick" if quick else ""),
        "environment": describe_environment(torch.device("cpu"), 1),
        "sizes": [*SIZES, *([] if quick else [LARGEST])],
        "solver": rows,
        "world": worlds,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
