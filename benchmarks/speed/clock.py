"""Times of calls that take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

FEWEST, MOST = 3, 101
WARM_UP = 2  # rounds: the first compiles, the last says how many more there are

Call = Callable[[], object]


def take_turns(
    calls: Mapping[str, Call], prepare: Call, device: torch.device, seconds: float
) -> dict[str, list[float]]:
    """Milliseconds of every call, round by round, so that a drifting machine slows all alike.

    Args:
        calls: what is measured, by name.
        prepare: called before every call, outside of its time.
        device: where the calls compute.
        seconds: how long the rounds may take together; at least ``FEWEST`` are made.
    """
    clock = _on_cuda if device.type == "cuda" else _on_host
    for _ in range(WARM_UP):
        start = time.perf_counter()
        for call in calls.values():
            prepare()
            clock(call)
        spent = time.perf_counter() - start
    rounds = int(np.clip(seconds / spent, FEWEST, MOST))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            prepare()
            times[name].append(clock(call))
    return times


def quantiles(times: list[float]) -> dict[str, float]:
    """Median, 20 % and 80 % quantile of milliseconds, and their number."""
    low, median, high = np.quantile(times, [0.2, 0.5, 0.8])
    return {
        "median_ms": float(median),
        "q20_ms": float(low),
        "q80_ms": float(high),
        "rounds": len(times),
    }


def _on_host(call: Call) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def _on_cuda(call: Call) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)
