"""What the processes of a run must agree on before they go on."""

from __future__ import annotations

from torch import Tensor
from torch import distributed as dist


def mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a value over the default process group; the value where there is none.

    No gradient flows through it. Every process must call it.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
