"""Reductions and exchanges over the ranks of the default process group."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

_Value = TypeVar("_Value")


class Local:
    """A pool whose pixels are all in this process: reductions do nothing."""

    size = 1

    def sum(self, x: Tensor) -> Tensor:
        return x

    def max(self, x: Tensor) -> Tensor:
        return x

    def gather(self, x: Tensor) -> Tensor:
        return x

    def each(self, value: _Value) -> list[_Value]:
        return [value]


class World:
    """A pool over all ranks of the default process group; reduces a few scalars per pass.

    All decisions of the solver use reduced values, so all ranks make the same number of passes and
    no rank waits for a reduction that another one never starts.
    """

    def __init__(self) -> None:
        self.size = dist.get_world_size()

    def sum(self, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total, op=dist.ReduceOp.SUM)
        return total

    def max(self, x: Tensor) -> Tensor:
        largest = x.clone()
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return largest

    def gather(self, x: Tensor) -> Tensor:
        """The values (k,) of all ranks one after the other; k is the same on all of them."""
        found = [torch.empty_like(x) for _ in range(self.size)]
        dist.all_gather(found, x.contiguous())
        return torch.cat(found)

    def each(self, value: _Value) -> list[_Value]:
        """The values of all ranks, of any type that can be pickled, in the order of the ranks."""
        found = [value] * self.size
        dist.all_gather_object(found, value)
        return found


Ranks = Local | World


def ranks(world: bool) -> Ranks:
    """``World`` if requested and there is a process group of more than one rank."""
    if world and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return World()
    return Local()


def wide(device: torch.device) -> torch.dtype:
    """The dtype of sums and thresholds: float64, or float32 on Apple GPUs, which lack float64."""
    return torch.float32 if device.type == "mps" else torch.float64
