"""Is the gain of the demo the same on other instruction sets, and with another number of threads?

    python -m benchmarks.machines --out runs/machines    # an hour; goes on where it was interrupted
    python -m benchmarks.machines SSE4.1 --out runs/machines    # one of them
    python -m benchmarks.machines --render    # the page again, from the results

Rounding differs from one to the other, and a training multiplies the difference until two runs
of one seed are as far apart as runs of two seeds. A conclusion must not hang on it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.blocks import filled
from benchmarks.loading import table
from lossmaxpool.cli.trainings import SEEDS, configuration
from lossmaxpool.report.statistics import paired_gain, score
from lossmaxpool.report.wording import interval, points, with_std
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training.sweep import Grid, sweep

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "machines.json"
PAGE = ROOT / "docs" / "evidence.md"
COMMAND = "python -m benchmarks.machines --out runs/machines"
STEPS = 400
GRID = Grid(("base", "lmp"), seeds=SEEDS)


@dataclass(frozen=True)
class Machine:
    """A way to compute.

    Args:
        needs: As torch names the instruction set.
        onednn: As oneDNN names it, which computes the convolutions.
        threads: Of each run.
    """

    needs: str
    onednn: str
    threads: int = 1

    @property
    def environment(self) -> dict[str, str]:
        """Variables that keep torch and oneDNN from using more."""
        return {"ATEN_CPU_CAPABILITY": self.needs.lower(), "ONEDNN_MAX_CPU_ISA": self.onednn}


MACHINES = {
    "AVX-512": Machine("AVX512", "AVX512_CORE"),
    "AVX2": Machine("AVX2", "AVX2"),
    "AVX2, 2 threads": Machine("AVX2", "AVX2", 2),
    "SSE4.1": Machine("DEFAULT", "SSE41"),
}


def offers(machine: Machine) -> bool:
    """Whether this processor has the instruction set."""
    order = ("DEFAULT", "AVX2", "AVX512")
    own = torch.backends.cpu.get_cpu_capability()
    return own in order and order.index(machine.needs) <= order.index(own)


def train(name: str, out: Path) -> None:
    """Train what is not finished, in this process, whose variables are set."""
    config = configuration(STEPS)
    hardware = replace(config.hardware, threads=MACHINES[name].threads)
    sweep(replace(config, hardware=hardware), GRID, out / name, resume="auto")


def measure(name: str, out: Path) -> dict[str, Any]:
    """Return the mIoU of every seed, by method, and where it comes from."""
    records = [RunRecord.read(folder) for folder in sorted((out / name).glob("*-seed*"))]
    found: dict[str, dict[int, float]] = {method: {} for method in GRID.methods}
    for record in records:
        found[record.method][record.seed] = record.miou
    environment = {key: x for key, x in records[0].environment.items() if key != "command"}
    return {"machine": name, "miou": found, "environment": environment}


def machines_table(content: list[dict[str, Any]]) -> str:
    """The gain on each, in Markdown."""
    rows = []
    for each in content:
        base, lmp = (
            {int(seed): value for seed, value in each["miou"][method].items()}
            for method in GRID.methods
        )
        gain = paired_gain(base, lmp)
        scores = (with_std(score(list(runs.values()))) for runs in (base, lmp))
        star = r"\*" if gain.settled else ""
        seeds = ", ".join(points(lmp[seed] - base[seed]) for seed in base)
        rows.append([each["machine"], *scores, f"{points(gain.mean)}{star}", interval(gain), seeds])
    return table(["", "BASE", "LMP", "LMP over BASE", "95 % interval", "each seed"], rows)


def setting(content: list[dict[str, Any]]) -> str:
    """Where, when and how it was measured."""
    places = {f"{e['environment']['device']}, {e['environment']['date'][:10]}, torch "
              f"{e['environment']['torch']}" for e in content}  # fmt: skip
    return f"`{COMMAND}`: {'; '.join(sorted(places))}."


def rendered(page: str, content: list[dict[str, Any]]) -> str:
    """The page with its blocks filled."""
    blocks = {"table": machines_table, "setting": setting}
    return filled(page, "machines", lambda name: blocks[name](content))


def stored() -> dict[str, dict[str, Any]]:
    """The results that are there, by the name of the machine."""
    content = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
    return {each["machine"]: each for each in content}


def write(found: Mapping[str, dict[str, Any]]) -> None:
    """Write the results in the order of the table."""
    ordered = [found[name] for name in MACHINES if name in found]
    content = {"command": COMMAND, "environment": ordered[0]["environment"], "runs": ordered}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("machines", nargs="*", metavar="machine", help=", ".join(MACHINES))
    parser.add_argument("--out", type=Path, help="folder for the runs")
    parser.add_argument("--render", action="store_true", help="from the results that are there")
    parser.add_argument("--train", choices=MACHINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.render and options.out is None:
        parser.error("--out is needed, the folder of the runs")
    if options.train:
        train(options.train, options.out)
        return
    for name in [] if options.render else options.machines or MACHINES:
        if name not in MACHINES:
            parser.error(f"there is no machine {name}; there are: {', '.join(MACHINES)}")
        machine = MACHINES[name]
        if not offers(machine):
            print(f"{name}: this processor does not have it; its results stay as they are")
            continue
        command = [sys.executable, "-m", "benchmarks.machines", "--train", name]
        subprocess.run(
            [*command, "--out", str(options.out)],
            env={**os.environ, **machine.environment},
            check=True,
        )
        write({**stored(), name: measure(name, options.out)})
    content = list(stored().values())
    print(machines_table(content), setting(content), sep="\n\n")
    PAGE.write_text(rendered(PAGE.read_text(), content))


if __name__ == "__main__":
    main()
