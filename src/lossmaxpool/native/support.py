"""Whether the kernels take an input, in words."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmaxpool.native.library import find
from lossmaxpool.planes import merged_planes

# The order of these is that of the enumerations in cpp/problem.h.
LOGITS = (torch.float32, torch.bfloat16, torch.float16)
TARGETS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


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
    low = logits.shape[2:]
    if logits.device.type != "cpu":
        return f"the native kernels are for the CPU, the logits are on {logits.device}"
    if target.device != logits.device:
        return f"the target is on {target.device}, the logits on {logits.device}"
    if logits.dtype not in LOGITS:
        return f"the kernels compute in float32, the logits are {_name(logits.dtype)}"
    if target.dtype not in TARGETS:
        return f"the kernels read class ids of 8 to 64 bits, the target is {_name(target.dtype)}"
    if logits.shape[1] == 0:
        return "the logits have no classes"
    if low != spatial:
        if len(low) > 2:
            return f"the kernels upsample one or two dimensions, the logits have {len(low)}"
    elif merged_planes(logits, torch.empty_like(logits, device="meta")) is None:
        return f"strides {logits.stride()} do not merge into two spatial dimensions"
    return absence()


def supports_solve(losses: Tensor) -> str | None:
    """Why the kernels do not find the thresholds of (R, N) losses; None where they do."""
    if losses.device.type != "cpu":
        return f"the native kernels are for the CPU, the losses are on {losses.device}"
    if losses.dtype != torch.float32:
        return f"the kernels solve float32 losses, these are {_name(losses.dtype)}"
    return absence()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
