"""Input checks that the compiled and the Triton kernels share, with reasons for rejection."""

from __future__ import annotations

import torch
from torch import Tensor

from lossmaxpool.ops.backends.planes import merged_planes

# Same order as the enumerations in native/cpp/interface.h.
LOGITS = (torch.float32, torch.bfloat16, torch.float16)
TARGETS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def refuses_inputs(logits: Tensor, target: Tensor, spatial: torch.Size) -> str | None:
    """The reason why no kernel supports these inputs on any device; None if they are supported.

    Args:
        logits: (B, C, *low).
        target: (B, *spatial) class ids.
        spatial: the target's size, to which the logits are upsampled.
    """
    low = logits.shape[2:]
    if target.device != logits.device:
        return f"the target is on {target.device}, the logits on {logits.device}"
    if logits.dtype not in LOGITS:
        return f"the kernels compute in float32, the logits are {logits.dtype}"
    if target.dtype not in TARGETS:
        return f"the kernels read class ids of 8 to 64 bits, the target is {target.dtype}"
    if logits.shape[1] == 0:
        return "the logits have no classes"
    if low != spatial:
        if len(low) > 2:
            return f"the kernels upsample one or two dimensions, the logits have {len(low)}"
    elif logits.is_contiguous():
        return None
    # The gradient is a separate tensor with its own strides.
    elif (
        not logits.is_contiguous()
        and merged_planes(logits, torch.empty_like(logits, device="meta")) is None
    ):
        return f"strides {logits.stride()} do not merge into two spatial dimensions"
    return None


def refuses_losses(losses: Tensor) -> str | None:
    """The reason why no kernel can solve (R, N) losses on any device; None if one can."""
    if losses.dtype != torch.float32:
        return f"the kernels solve float32 losses, these are {losses.dtype}"
    return None
