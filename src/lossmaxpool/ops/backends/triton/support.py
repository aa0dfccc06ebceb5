"""Checks whether the Triton kernels support an input, without importing Triton."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import refuses_inputs, refuses_losses

# torch's "cuda" includes ROCm.
_DEVICES = ("cuda", "xpu")


@cache
def installed() -> bool:
    """Whether Triton is installed. Cached, because every call of a loss needs it."""
    return find_spec("triton") is not None


def absence() -> str | None:
    """The reason why the kernels are not usable on this machine; None if they are."""
    if not installed():
        return "triton is not installed"
    accelerator = (
        torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    )
    if not interpreted() and (accelerator is None or accelerator.type not in _DEVICES):
        return "this machine has no GPU that Triton can reach"
    return None


def supports(logits: Tensor, target: Tensor, spatial: torch.Size) -> str | None:
    """The reason why the kernels do not support these inputs; None if they do.

    Args:
        logits: (B, C, *low) on any device.
        target: (B, *spatial) class ids.
        spatial: the target's size, to which the logits are upsampled.
    """
    return absence() or _refuses_device(logits) or refuses_inputs(logits, target, spatial)


def supports_solve(losses: Tensor) -> str | None:
    """The reason why the kernels cannot solve (R, N) losses; None if they can."""
    return refuses_losses(losses) or absence() or _refuses_device(losses)


def _refuses_device(tensor: Tensor) -> str | None:
    kind = tensor.device.type
    if kind == "cpu" and interpreted():
        return None
    if kind not in _DEVICES:
        return f"Triton has no kernels for {kind} tensors"
    if kind == "xpu" and not torch.xpu.get_device_properties(tensor.device).has_fp64:
        return "this GPU has no float64, in which the kernels add up"
    return None


def interpreted() -> bool:
    """Whether Triton's interpreter is active, which runs kernels on CPU tensors for tests."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"
