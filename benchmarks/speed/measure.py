"""Measures one case in a process of its own: no case inherits another's heap.

python -m benchmarks.speed.measure '{"kind": "dense", ...}' cpu 20
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.cases import Case, logits_and_target, pixel_losses
from benchmarks.speed.clock import quantiles, take_turns
from benchmarks.speed.contenders import of_logits, of_losses
from benchmarks.speed.memory import extra_peak, synchronizations

ROOT = Path(__file__).resolve().parents[2]
# glibc hands every large block back when it is freed, and the next one costs a page fault per
# 4 kB. Thresholds beyond all sizes keep the pages.
PINNED = {"MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**33)}


def in_own_process(case: Case, device: str, seconds: float) -> dict[str, Any]:
    """:func:`measured`, from a fresh process under the allocator that the case asks for."""
    environment = {name: value for name, value in os.environ.items() if name not in PINNED}
    if case.malloc == "pinned":
        environment |= PINNED
    command = [sys.executable, "-m", __name__, json.dumps(asdict(case)), device, str(seconds)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured(case: Case, device: torch.device, seconds: float) -> dict[str, Any]:
    """Time, extra memory and synchronizations of every contender of a case."""
    if case.kind in ("dense", "upsampling"):
        leaf, target = logits_and_target(case, device)
        field = of_logits(leaf, target)
    else:
        leaf = pixel_losses(case, device)
        field = of_losses(leaf)

    def drop_gradient() -> None:
        leaf.grad = None

    times = take_turns(field.calls, drop_gradient, device, seconds)
    figures: dict[str, dict[str, float | None]] = {}
    for name, call in field.calls.items():
        figures[name] = {**quantiles(times[name])}
        if case.kind != "scaling":
            figures[name]["extra_bytes"] = extra_peak(call, drop_gradient, device)
        if device.type == "cuda":
            figures[name]["synchronizations"] = synchronizations(call, drop_gradient)
    return {
        **asdict(case),
        "low": case.low,
        "logits_bytes": case.logits_bytes,
        "floor_bytes": case.floor_bytes,
        "auto": field.auto,
        "left_out": field.left_out,
        "contenders": figures,
    }


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    chosen = Case(**{**fields, "shape": tuple(fields["shape"])})
    print(json.dumps(measured(chosen, torch.device(sys.argv[2]), float(sys.argv[3]))))
