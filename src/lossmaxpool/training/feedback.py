"""The one feedback of a run: the IoU on its training crops decides which crops come next."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from lossmaxpool.sampling import PerformanceSampler, RunningIoU


class SamplerFeedback(pl.Callback):
    """Tells the sampler after each batch that a step is done, and how well each class is known.

    Its state travels in the checkpoint: it must come before the callback that saves one.

    Args:
        sampler: What fills the run's batches.
        running_iou: On these batches, up to the last one.
    """

    def __init__(self, sampler: PerformanceSampler, running_iou: RunningIoU) -> None:
        self.sampler = sampler
        self.running_iou = running_iou

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if self.sampler.blend > 0:
            self.running_iou.update(outputs["prediction"], batch["mask"])
            self.sampler.update(self.running_iou.iou())
        else:
            self.sampler.update()

    def state_dict(self) -> dict[str, Any]:
        return {"sampler": self.sampler.state_dict(), "running_iou": self.running_iou.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sampler.load_state_dict(state_dict["sampler"])
        self.running_iou.load_state_dict(state_dict["running_iou"])
