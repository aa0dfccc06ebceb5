"""How much does the host do, and what do the GPU kernels use? Counted here, without a GPU.

    python -m benchmarks.kernels

Host time of a forward and a backward pass on tiny tensors, on the CPU and through the Triton
kernels, whose launches are replaced by nothing; beside it cross-entropy on the same tensors, in
turns. Registers, stack, the widest load and store of every kernel, and its instructions and bytes
per pixel (see :mod:`benchmarks.instructions`), compiled for compute capability 9.0 as a launch
would compile it. Nothing here ran on a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import MaxPoolingCrossEntropyLoss, loss_max_pool
from lossmaxpool.environment import describe_environment

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "kernels-sm90.json"
CAPABILITY = 90
SHAPE = (2, 5, 8, 8)
ROUNDS, CALLS = 40, 20
BASELINE = "F.cross_entropy"
# Commit 94a39ed, the first with these kernels: its host time on another machine, its launches with
# those of torch, and its kernels compiled and counted by the same method and Triton: registers,
# bytes of stack, instructions and bytes per pixel. The losses were not counted by their kernel yet;
# the solver read them in up to eight launches of 43, 112 and 90 instructions a loss. With Triton
# 3.6 the upsampling kernels took 196 and 255 registers and spilled 208 bytes.
BEFORE = {
    "commit": "94a39ed",
    "triton": "3.8.0",
    "triton_host_us": {"MaxPoolingCrossEntropyLoss": 475, "loss_max_pool": 360},
    "launches": {"forward": 16, "backward": 4},
    "kernels": {
        case: {
            kernel: dict(
                zip(("registers", "stack", "per_pixel", "bytes_per_pixel"), figures, strict=True)
            )
            for kernel, figures in kernels.items()
        }
        for case, kernels in {
            "dense 19": {
                "dense_losses_kernel": (96, 0, 278.2, 92.0),
                "dense_gradient_kernel": (102, 0, 428.0, 175.0),
            },
            "dense 19 bf16": {
                "dense_losses_kernel": (96, 0, 298.8, 45.0),
                "dense_gradient_kernel": (116, 0, 388.8, 87.5),
            },
            "dense 150": {
                "dense_losses_kernel": (122, 0, 1609.5, 616.0),
                "dense_gradient_kernel": (152, 0, 2519.8, 1223.0),
            },
            "dense 150 bf16": {
                "dense_losses_kernel": (96, 0, 1813.6, 314.0),
                "dense_gradient_kernel": (157, 0, 3544.8, 617.5),
            },
            "upsampled 19": {
                "upsampled_losses_kernel": (96, 0, 1488.0, 412.0),
                "cells_kernel": (199, 0, 1081.8, 123.0),
                "gather_kernel": (56, 0, 20.8, 7.5),
            },
            "upsampled 150 bf16": {
                "upsampled_losses_kernel": (72, 0, 5701.0, 1236.0),
                "cells_kernel": (207, 0, 6935.2, 586.5),
                "gather_kernel": (54, 0, 129.4, 42.8),
            },
            "channels last 19": {},  # did not compile
        }.items()
    },
}


class Nothing:
    """A launch that does nothing but write down its kernel's name."""

    launched: ClassVar[list[str]] = []

    def __init__(self, source: Any, metadata: Any) -> None:
        self.name = metadata.name

    def __call__(self, *arguments: Any) -> None:
        self.launched.append(self.name)


class Loader:
    """A device's properties, and kernels that are never loaded."""

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 232448, "multiprocessor_count": 132, "warpSize": 32}

    def load_binary(self, *arguments: Any) -> tuple[int, ...]:
        return 1, 1, 0, 0, 1024

    def unload_module(self, module: int) -> None:
        """Nothing was loaded."""


def pretend_a_gpu() -> None:
    """Compile for the capability, and launch nothing. For the rest of the process."""
    from tests.ops.triton.compiling import NoDevice
    from triton.runtime.driver import driver

    from lossmaxpool.ops import cross_entropy, max_pool, reduction
    from lossmaxpool.ops.backends.triton import support

    device: Any = NoDevice(CAPABILITY)
    device.utils, device.launcher_cls = Loader(), Nothing
    driver.set_active(device)
    support.absence = lambda: None
    support._refuses_device = lambda tensor: None
    # Nobody looks at numbers, as on a GPU.
    reduction.FEW = -1
    for module in (cross_entropy, max_pool):
        module.holds_nan = lambda value: False  # type: ignore[attr-defined]


def losses(backend: str) -> dict[str, Callable[[], Tensor]]:
    """The losses on tiny tensors; every call starts from a leaf without a gradient."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(SHAPE, generator=generator).requires_grad_()
    target = torch.randint(0, SHAPE[1], (SHAPE[0], *SHAPE[2:]), generator=generator)
    pixels = torch.rand(SHAPE[0], 64, generator=generator).requires_grad_()
    criterion = MaxPoolingCrossEntropyLoss(backend=backend)  # type: ignore[arg-type]

    def fresh(loss: Callable[[], Tensor], leaf: Tensor) -> Callable[[], Tensor]:
        def call() -> Tensor:
            leaf.grad = None
            return loss()

        return call

    return {
        BASELINE: fresh(lambda: F.cross_entropy(logits, target), logits),
        "MaxPoolingCrossEntropyLoss": fresh(lambda: criterion(logits, target), logits),
        "loss_max_pool": fresh(
            lambda: loss_max_pool(pixels, backend=backend),  # type: ignore[arg-type]
            pixels,
        ),
    }


def host_microseconds(backend: str) -> dict[str, dict[str, float]]:
    """CPU time of the calling thread per call, the median of rounds that take turns."""
    passes: dict[str, Callable[[], object]] = {}
    for name, loss in losses(backend).items():
        passes[f"{name}: forward"] = loss
        passes[f"{name}: both"] = lambda loss=loss: loss().backward()
    spent: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(ROUNDS):
        for name, run in passes.items():
            run()
            start = time.thread_time_ns()
            for _ in range(CALLS):
                run()
            spent[name].append((time.thread_time_ns() - start) / CALLS / 1000)
    median = {name: sorted(found)[len(found) // 2] for name, found in spent.items()}
    unit = median[f"{BASELINE}: both"]
    return {
        name: {
            "forward_us": round(median[f"{name}: forward"], 1),
            "forward_and_backward_us": round(median[f"{name}: both"], 1),
            "of_cross_entropy": round(median[f"{name}: both"] / unit, 2),
        }
        for name in losses(backend)
    }


def launches(backend: str) -> dict[str, list[str]]:
    """The kernels that a forward and a backward pass launch."""
    found = {}
    for name, loss in losses(backend).items():
        loss().backward()
        Nothing.launched.clear()
        value = loss()
        forward = list(Nothing.launched)
        value.backward()
        found[name] = [*forward, "(backward)", *Nothing.launched[len(forward) :]]
    return {name: kernels for name, kernels in found.items() if name != BASELINE}


def compiled() -> dict[str, list[dict[str, Any]]]:
    """The launches of every case, a kernel's passes by themselves: what it uses, what it takes."""
    environment = {name: x for name, x in os.environ.items() if name != "TRITON_INTERPRET"}
    with tempfile.TemporaryDirectory() as cache:
        environment.setdefault("TRITON_CACHE_DIR", cache)
        command = [sys.executable, "-W", "ignore", "-m", "tests.ops.triton.compiling"]
        done = subprocess.run(
            [*command, str(CAPABILITY), "hot", "channels last", "count"],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    table = {}
    for line in map(json.loads, done.stdout.splitlines()):
        if "error" in line:
            raise SystemExit(f"{line['case']} does not compile: {line['error'][-500:]}")
        rows: list[dict[str, Any]] = []
        for one in line["launches"]:
            number = one.pop("numbers").get("PASS")
            one["kernel"] += "" if number is None else f", pass {number}"
            # The launches of an upsampling's gradient repeat for the next images.
            known = [row for row in rows if row["kernel"] == one["kernel"]]
            if known:
                known[0]["programs"] += one["programs"]
                for name in ("per_pixel", "bytes_per_pixel"):
                    known[0][name] = round(known[0][name] + one[name], 1)
            else:
                rows.append(one)
        table[line["case"]] = rows
    return table


def main() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    host = {"native": host_microseconds("native"), "torch": host_microseconds("torch")}
    table = compiled()
    pretend_a_gpu()
    host["triton, launches replaced by nothing"] = host_microseconds("triton")
    content = {
        "command": "python -m benchmarks.kernels",
        "environment": describe_environment(torch.device("cpu"), 1) | {"triton": version("triton")},
        "how": "compiled for compute capability 9.0 and counted on a CPU; nothing ran on a GPU",
        "shape": SHAPE,
        "host": host,
        "launches": launches("triton"),
        "kernels": table,
        "before": BEFORE,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    for backend, rows in host.items():
        for name, row in rows.items():
            print(
                f"{backend:36} {name:27} {row['forward_us']:7} us forward, "
                f"{row['forward_and_backward_us']:7} us with backward, "
                f"{row['of_cross_entropy']:5} x {BASELINE}"
            )
    before: Any = BEFORE["kernels"]
    print(f"Triton {version('triton')}; before: {BEFORE['commit']}")
    for case, rows_of_case in table.items():
        for row in rows_of_case:
            figures = {name: x for name, x in row.items() if name != "kernel"}
            was = before.get(case, {}).get(row["kernel"], "-")
            print(f"{case:24} {row['kernel']:27} {figures} before {was}")


if __name__ == "__main__":
    main()
