"""Whether the kernels take an input, in words."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import refuses_inputs, refuses_losses
from lossmaxpool.ops.backends.native.library import find


def absence() -> str | None:
    """Why the kernels can take no input at all in this process; None where they can."""
    return find().absence


def supports(logits: Tensor, target: Tensor, spatial: torch.Size) -> str | None:
    """Why the kernels do not take these inputs, in words; None where they do.

    Args:
        logits: (B, C, *low) on any device.
        target: (B, *spatial) class ids.
        spatial: the size to which the logits are upsampled.
    """
    return _refuses_device(logits) or refuses_inputs(logits, target, spatial) or absence()


def supports_solve(losses: Tensor) -> str | None:
    """Why the kernels do not find the thresholds of (R, N) losses; None where they do."""
    return _refuses_device(losses) or refuses_losses(losses) or absence()


def _refuses_device(tensor: Tensor) -> str | None:
    if tensor.device.type != "cpu":
        return f"the native kernels are for the CPU, the tensors are on {tensor.device}"
    return None
