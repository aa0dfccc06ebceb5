"""The extra memory that a call needs at its peak, and how often it makes the host wait.

On a CPU the operating system is asked, not torch's profiler: kernels that allocate for
themselves are seen as well. Before the call free memory is handed back and the process's
high-water mark of resident memory is reset (Linux); what the call touches beyond that is what it
needs. Buffers that a library keeps from one call to the next are not counted.
"""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

REPEATS = 3
_PROCESS = Path("/proc/self")

Call = Callable[[], object]


def extra_peak(call: Call, prepare: Call, device: torch.device) -> int | None:
    """Bytes beyond those before the call, the median of three; None where they cannot be told.

    Args:
        call: what is measured; it has run before.
        prepare: called before every call, to drop what an earlier one left behind.
        device: where the call computes.
    """
    if not can_tell(device):
        return None
    measure = _on_cuda if device.type == "cuda" else _on_linux
    peaks = []
    for _ in range(REPEATS):
        prepare()
        gc.collect()
        peaks.append(measure(call))
    return int(statistics.median(peaks))


def can_tell(device: torch.device) -> bool:
    """Whether extra memory can be measured there: on a CPU it takes Linux's ``/proc``."""
    return device.type == "cuda" or os.access(_PROCESS / "clear_refs", os.W_OK)


def synchronizations(call: Call, prepare: Call) -> int:
    """How often a call on a GPU makes the host wait for it."""
    prepare()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    # Turning the mode on warns as well, that it is a prototype.
    return sum("called a synchronizing" in str(warning.message) for warning in caught)


def _on_cuda(call: Call) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _on_linux(call: Call) -> int:
    _hand_back_free_memory()
    (_PROCESS / "clear_refs").write_text("5")  # the high-water mark is what is resident now
    before = _resident("VmRSS")
    call()
    return _resident("VmHWM") - before


def _hand_back_free_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl keeps nothing back
    if trim is not None:
        trim(0)


def _resident(field: str) -> int:
    for line in (_PROCESS / "status").read_text().splitlines():
        name, _, amount = line.partition(":")
        if name == field:
            return 1024 * int(amount.split()[0])
    raise RuntimeError(f"the kernel does not tell {field} in {_PROCESS / 'status'}")
