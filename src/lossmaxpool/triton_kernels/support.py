"""Whether the kernels take an input; asking needs no Triton."""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from lossmaxpool.triton_kernels.planes import planes

_LOGITS = (torch.float32, torch.bfloat16, torch.float16)
_TARGETS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
# Tested: CUDA and the interpreter. ROCm is torch's "cuda" too.
_DEVICES = ("cuda", "xpu")


def supports(logits: Tensor, target: Tensor, spatial: torch.Size) -> str | None:
    """Why the kernels do not take these inputs, in words; None where they do.

    Args:
        logits: (B, C, *low) on any device.
        target: (B, *spatial) class ids.
        spatial: the size to which the logits are upsampled.
    """
    low = logits.shape[2:]
    if find_spec("triton") is None:
        return "triton is not installed"
    if logits.device.type not in _DEVICES and not interpreted():
        return f"Triton has no kernels for {logits.device.type} tensors"
    if target.device != logits.device:
        return f"the target is on {target.device}, the logits on {logits.device}"
    if logits.dtype not in _LOGITS:
        return f"the kernels compute in float32, the logits are {_name(logits.dtype)}"
    if target.dtype not in _TARGETS:
        return f"the kernels read integer class ids up to 64 bits, the target is {target.dtype}"
    if low == spatial:
        if planes(logits) is None:
            return f"strides {logits.stride()} do not merge into two spatial dimensions"
        return None
    if len(low) > 2:
        return f"the kernels upsample one or two dimensions, the logits have {len(low)}"
    return None


def interpreted() -> bool:
    """Triton runs its kernels in Python, on CPU tensors: how they are tested without a GPU."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
