"""Rows of losses to packed thresholds, by the fastest solver that can run."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from lossmaxpool.ops.backends.native import support as native_support
from lossmaxpool.ops.backends.triton import support as triton_support
from lossmaxpool.ops.solver.ranks import ranks
from lossmaxpool.ops.solver.threshold import find_threshold, unpack
from lossmaxpool.ops.solver.weights import optimal_weights


def solve_rows(
    losses: Tensor,
    valid: Tensor | None,
    *,
    p: float,
    fraction: float,
    least: float,
    world: bool,
    marked: bool = False,
    backend: str = "auto",
) -> Tensor:
    """The threshold of every row, as one tensor.

    Args:
        losses: (R, N) float32 or float64.
        valid: (R, N) bool, or None.
        p: norm exponent in [1, inf].
        fraction: m as a share of the valid pixels.
        least: the smallest m.
        world: one pool over all ranks.
        marked: a negative loss marks a pixel that does not exist; it is unsound otherwise.
        backend: "torch" keeps to torch's own operations; "native" and "triton" take the
            kernels where they can solve; "auto" takes those of the losses' device.

    Returns:
        (6, R) the fields of :class:`~lossmaxpool.ops.solver.threshold.Threshold`, wide dtype.
    """
    kernels = None if world else _kernels(losses, backend)
    if kernels is not None:
        packed: Tensor = kernels.solve(losses, valid, p, fraction, least, marked)
        return packed
    if marked:
        valid = ~(losses < 0)  # a NaN exists
        if losses.device.type == "cpu" and bool(valid.all()):
            valid = None
    threshold = find_threshold(
        losses, valid, p=p, fraction=fraction, least=least, ranks=ranks(world)
    )
    return torch.stack(threshold)


def weigh_rows(losses: Tensor, valid: Tensor | None, packed: Tensor, *, p: float) -> Tensor:
    """(R, N) losses and their (6, R) thresholds -> (R, N) weights w*, by the fastest that can."""
    if native_support.supports_solve(losses) is None:
        calls = import_module("lossmaxpool.ops.backends.native.calls")
        weights: Tensor = calls.weigh(losses, valid, packed, p)
        return weights
    return optimal_weights(losses, valid, unpack(packed), p=p)


def _kernels(losses: Tensor, backend: str) -> ModuleType | None:
    """The module whose ``solve`` takes these losses; None: torch's own operations do."""
    if backend == "auto":
        backend = "native" if losses.device.type == "cpu" else "triton"
    if backend == "native" and native_support.supports_solve(losses) is None:
        return import_module("lossmaxpool.ops.backends.native.calls")
    if backend == "triton" and triton_support.supports_solve(losses) is None:
        return import_module("lossmaxpool.ops.backends.triton.kernels")
    return None
