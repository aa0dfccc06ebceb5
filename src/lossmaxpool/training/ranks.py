"""What the processes of a run must agree on before they go on."""

from __future__ import annotations

import lightning.pytorch as pl
from torch import Tensor
from torch import distributed as dist

from lossmaxpool.sampling import ClassIndex
from lossmaxpool.training.errors import TrainingError


class RanksAgree(pl.Callback):
    """Stops all processes before the first step where one sees other data than the first.

    Args:
        splits: The pixels per image and class of each split, (num_images, C) int64.
    """

    def __init__(self, *splits: Tensor) -> None:
        self.indices = [ClassIndex(pixels) for pixels in splits]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for index in self.indices:
            index.check_ranks()
        if not (dist.is_available() and dist.is_initialized()):
            return
        steps = [0] * dist.get_world_size()
        dist.all_gather_object(steps, trainer.global_step)
        if len(set(steps)) > 1:
            raise TrainingError(
                f"the processes go on from the steps {', '.join(map(str, steps))}: the run folder "
                "must be the same one for all of them, on a file system that they share"
            )


def mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a value over the default process group; the value where there is none.

    No gradient flows through it. Every process must call it.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
