"""Whether the kernels take an input; asking needs no Triton."""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from lossmaxpool.planes import merged_planes

_LOGITS = (torch.float32, torch.bfloat16, torch.float16)
_TARGETS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
# ROCm is torch's "cuda" too.
_DEVICES = ("cuda", "xpu")


def absence() -> str | None:
    """Why the kernels can take no input at all on this machine; None where they can."""
    if find_spec("triton") is None:
        return "triton is not installed"
    accelerator = (
        torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    )
    if not interpreted() and (accelerator is None or accelerator.type not in _DEVICES):
        return "this machine has no GPU that Triton can reach"
    return None


def supports(logits: Tensor, target: Tensor, spatial: torch.Size) -> str | None:
    """Why the kernels do not take these inputs, in words; None where they do.

    Args:
        logits: (B, C, *low) on any device.
        target: (B, *spatial) class ids.
        spatial: the size to which the logits are upsampled.
    """
    low = logits.shape[2:]
    refusal = absence() or _refuses_device(logits)
    if refusal is not None:
        return refusal
    if target.device != logits.device:
        return f"the target is on {target.device}, the logits on {logits.device}"
    if logits.dtype not in _LOGITS:
        return f"the kernels compute in float32, the logits are {_name(logits.dtype)}"
    if target.dtype not in _TARGETS:
        return f"the kernels read integer class ids up to 64 bits, the target is {target.dtype}"
    if low == spatial:
        if merged_planes(logits) is None:
            return f"strides {logits.stride()} do not merge into two spatial dimensions"
        return None
    if len(low) > 2:
        return f"the kernels upsample one or two dimensions, the logits have {len(low)}"
    return None


def supports_solve(losses: Tensor) -> str | None:
    """Why the kernels do not find the thresholds of (R, N) losses; None where they do."""
    if losses.dtype != torch.float32:
        return f"the kernels solve float32 losses, these are {_name(losses.dtype)}"
    return absence() or _refuses_device(losses)


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
    """Triton runs its kernels in Python, on CPU tensors: how they are tested without a GPU."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
