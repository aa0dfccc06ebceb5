"""Launching where the tensors are."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """A launch goes to the current device: make it that of ``tensor``."""
    if tensor.device.type == "cpu":  # the interpreter
        return nullcontext()
    guard: AbstractContextManager[object] = torch.get_device_module(tensor.device).device(
        tensor.device
    )
    return guard
