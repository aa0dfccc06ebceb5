"""The kernels and the host time of commit 94a39ed, the first with Triton kernels.

:mod:`benchmarks.kernels` runs this as a process of its own, with that commit's package on the path.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

import torch
from tests.ops.triton import compiling

from benchmarks import kernels
from lossmaxpool import MaxPoolingCrossEntropyLoss, loss_max_pool


def call(case: compiling.Case) -> None:
    """All launches of a loss; its weights alone had no kernel."""
    run: Any = import_module("lossmaxpool.triton_kernels.kernels")
    logits, target = case.tensors()
    losses = run.pixel_losses(logits, target, None, compiling.IGNORE, case.smoothing)
    packed = run.solve(losses.view(case.batch, -1), None, case.p, 0.25, 1.0, True)
    outer = torch.empty(case.batch)
    numbers = compiling.IGNORE, case.smoothing, case.p
    run.gradient(outer, logits, target, None, losses, packed, *numbers)


def pretend_a_gpu() -> None:
    """As :func:`benchmarks.kernels.pretend_a_gpu`, for that commit's package."""
    kernels.replace_driver()
    support: Any = import_module("lossmaxpool.triton_kernels.support")
    support.absence = lambda: None
    support._refuses_device = lambda tensor: None
    # Values that no kernel wrote may be NaN. The look at them, which a GPU is spared, stays: 4 us.
    for name, refusal in (("fused", "refuse_unknown_labels"), ("solver", "refuse_negative")):
        operators: Any = import_module(f"lossmaxpool.{name}.operators")
        setattr(operators, refusal, lambda *arguments: None)
    # Losses without logits chose a solver by their device, and torch's operations for the weights.
    rows: Any = import_module("lossmaxpool.solver.rows")
    triton_kernels = import_module("lossmaxpool.triton_kernels.kernels")
    rows._kernels = lambda losses, implementation: triton_kernels
    rows.native_support.supports_solve = lambda losses: "on a GPU"


def time_on_demand() -> None:
    """Print the setting and the launches, then the times of a round for every line that comes."""
    kernels.one_core()
    pretend_a_gpu()
    criterion: Any = MaxPoolingCrossEntropyLoss
    found = kernels.losses(criterion(implementation="triton"), loss_max_pool)
    first = {"environment": kernels.setting(), "launches": kernels.launches(found)}
    print(json.dumps(first), flush=True)
    for _ in sys.stdin:
        print(json.dumps(kernels.one_round(found)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["count"]:
        compiling.main(kernels.CAPABILITY, list(kernels.GROUPS), True, call)
    else:
        time_on_demand()
