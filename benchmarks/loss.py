"""Time and memory of the loss against cross-entropy, sorting and bootstrapping.

    python -m benchmarks.loss                   # on the CPU, under five minutes
    python benchmarks/loss.py --device cuda     # on a GPU
    python -m benchmarks.loss --render          # the page and its pictures alone

Every case runs in a process of its own, its contenders by turns. The figures go to
benchmarks/results/loss-<device>.json, from there to docs/speed.md; the bars are printed. A smoke
test (--quick) leaves no file behind.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the root of the checkout is where `benchmarks` is found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from benchmarks.speed.bars import bars
from benchmarks.speed.cases import Kind, cases
from benchmarks.speed.measure import in_own_process
from benchmarks.speed.page import render
from benchmarks.speed.results import Results, kernels_on_gpu, results_file
from benchmarks.speed.tables import bar_table, logits_table, scaling_table, solver_table
from lossmaxpool.environment import describe_environment, versions

# Per case, beside compilation; a case that is slow takes its fewest rounds all the same.
SECONDS: dict[Kind, float] = {"dense": 12.0, "upsampling": 12.0, "solver": 6.0, "scaling": 3.0}
LIBRARIES = ("triton", "liger-kernel")


def measure(device: str, *, quick: bool) -> Results:
    """Run all cases, and print each as it comes."""
    measured: list[dict[str, Any]] = []
    for case in cases(device, quick=quick):
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        measured.append(in_own_process(case, device, 0.0 if quick else SECONDS[case.kind]))
    return Results(
        {
            "command": f"python -m benchmarks.loss --device {device}" + " --quick" * quick,
            "device": device,
            "environment": environment(device, 1),
            "cases": measured,
        }
    )


def keep(results: Results) -> Path:
    """Write the result file, with the bars as they were computed."""
    verdicts = [
        {"bar": bar.text, "limit": bar.limit, "measured": bar.measured, "holds": bar.holds}
        for bar in bars(results)
    ]
    path = results_file(results.content["device"])
    path.write_text(json.dumps({**results.content, "bars": verdicts}, indent=1) + "\n")
    return path


def show(results: Results) -> None:
    """Print the tables."""
    for kind in ("dense", "upsampling"):
        for case in results.of(kind):
            print(f"\n{kind} {case.shape} {case.content['dtype']} {case.content['malloc']} malloc")
            print(logits_table([case]))
    for case in results.of("solver"):
        print("", solver_table(case), sep="\n")
    print("", scaling_table(results.of("scaling")), "", bar_table(results), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="small shapes, few rounds, no file")
    parser.add_argument("--render", action="store_true", help="only the page, from the results")
    options = parser.parse_args()
    if not options.render:
        if options.device == "cuda" and not torch.cuda.is_available():
            parser.error("--device cuda: torch sees no GPU on this machine")
        results = measure(options.device, quick=options.quick)
        show(results)
        if options.quick:
            return
        print("\n", keep(results), sep="")
    render()


def environment(device: str, devices: int) -> dict[str, Any]:
    """That of every result, what only this benchmark uses, and on a GPU the kernels' sources."""
    found = describe_environment(torch.device(device), devices)
    if torch.cuda.is_available():
        found["cuda"] = torch.version.cuda
    return found | versions(LIBRARIES) | (kernels_on_gpu() if device == "cuda" else {})


if __name__ == "__main__":
    main()
