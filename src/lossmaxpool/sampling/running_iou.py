"""Running IoU over the recent training batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossmaxpool.metrics import ConfusionMatrix


class RunningIoU:
    r"""Per-class IoU of an exponentially decaying confusion matrix.

    .. math:: M \leftarrow 2^{-1/h} M + M_{\text{batch}}

    with half-life *h* in batches. This needs one matrix, while a window needs one per batch, and it
    changes smoothly. A class that does not occur for a while keeps its IoU, because numerator and
    denominator decay equally.

    Each ``update`` sums the integer counts of all ranks of the default process group, so every rank
    has the same state as a single process with the whole batch.

    Args:
        num_classes: C.
        half_life: Batches after which a batch counts half; inf never forgets. Rota Bulò et al. 2017
            do not state theirs: the value is an assumption.
        ignore_index: Target value of ignored pixels.

    Attributes:
        matrix: (C, C) float64, rows true, columns predicted.

    Raises:
        ValueError: The half-life is not positive.

    Example:
        >>> running = RunningIoU(2)
        >>> running.update(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]]))
        >>> running.iou().tolist()
        [0.5, 0.0]
    """

    matrix: Tensor

    def __init__(
        self, num_classes: int, *, half_life: float = 200.0, ignore_index: int = 255
    ) -> None:
        if not half_life > 0:
            raise ValueError(f"half_life must be a positive number of batches, got {half_life}")
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; expected at least 1")
        self.half_life = half_life
        self.ignore_index = ignore_index
        self.matrix = torch.zeros((num_classes, num_classes), dtype=torch.float64)

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return self.matrix.shape[0]

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch, including those of other ranks; each rank must call this once per step.

        Args:
            prediction: (B, H, W) integer class ids.
            target: (B, H, W) integer class ids, or ``ignore_index``.

        Raises:
            ValueError: Shapes differ, dtypes are not integer, or ids are invalid.
        """
        # Count and reduce on the batch's device, which the group's backend supports.
        batch = ConfusionMatrix(self.num_classes, target.device)
        batch.update(prediction, target, self.ignore_index)
        counts = batch.reduce().counts
        self.matrix = self.matrix * 2 ** (-1 / self.half_life) + counts.cpu()

    def iou(self) -> Tensor:
        """(C,) float64; NaN for a class neither seen nor predicted, 0 for one only predicted."""
        hits = self.matrix.diagonal()
        return hits / (self.matrix.sum(1) + self.matrix.sum(0) - hits)  # 0 / 0 is NaN

    def __repr__(self) -> str:
        iou = ", ".join("-" if value != value else f"{value:.2f}" for value in self.iou().tolist())
        return (
            f"RunningIoU(num_classes={self.num_classes}, half_life={self.half_life:g}, iou=[{iou}])"
        )

    def state_dict(self) -> dict[str, Any]:
        """The state after the last update, the same on every rank."""
        return {"matrix": self.matrix.clone(), "half_life": self.half_life}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state.

        Raises:
            ValueError: It has another number of classes or another half-life.
        """
        matrix, half_life = state["matrix"], state["half_life"]
        if matrix.shape != self.matrix.shape or half_life != self.half_life:
            raise ValueError(
                f"the state has {matrix.shape[0]} classes and half_life {half_life}; this one has "
                f"{self.num_classes} and {self.half_life}: resume with what the run began with"
            )
        self.matrix = matrix.to("cpu", torch.float64).clone()
