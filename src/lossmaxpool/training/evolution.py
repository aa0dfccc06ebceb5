"""The callback that pictures how fixed training images are segmented as training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from lossmaxpool.data import EvalTransform, SegmentationDataset
from lossmaxpool.models import full_size_ids
from lossmaxpool.runs.record import Picture, RunRecord
from lossmaxpool.training.module import SegmentationModule
from lossmaxpool.training.painting import evenly_spaced, views, write_png

EVOLUTION = "evolution"


class EvolutionKeeper(pl.Callback):
    """Writes the predictions for a few training images at every evaluation.

    The images are evenly spaced in the training split, the same for every run on it, and are looked
    at whole. What has been written travels in the checkpoint, as the rest of the record does.

    Args:
        record: The record that lists the pictures; written by whoever is called next.
        dataset: The training split.
        folder: The run folder.
        count: How many images.

    References:
        Rota Bulò et al. 2017, Fig. 4.
    """

    def __init__(
        self, record: RunRecord, dataset: SegmentationDataset, folder: Path, count: int
    ) -> None:
        self.record = record
        self.dataset = dataset
        self.folder = folder
        self.indices = evenly_spaced(len(dataset), count)

    def state_dict(self) -> dict[str, Any]:
        return {"evolution": self.record.gathered()["evolution"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.record.take(state_dict)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SegmentationModule)
        if not (trainer.is_global_zero and self.indices):
            return
        (self.folder / EVOLUTION).mkdir(exist_ok=True)
        with trainer.precision_plugin.forward_context():
            for k, index in enumerate(self.indices):
                entry = self._picture(k, index, pl_module, trainer.global_step)
                self.record.evolution.append(entry)

    def _picture(self, k: int, index: int, module: SegmentationModule, step: int) -> Picture:
        """Write the pictures of one image, and return the entry of the record."""
        description = module.description
        sample = self.dataset[index]
        image, _ = EvalTransform(description.mean, description.std)(sample)
        ids = full_size_ids(module, image[None].to(module.device), module.stride)[0].cpu()
        entry: dict[str, str] = {}
        for kind, pixels in views(sample, ids, description.colors).items():
            changing = kind == "prediction"
            path = f"{EVOLUTION}/{k}.{f'step-{step}' if changing else kind}.png"
            entry[kind] = path
            if changing or not (self.folder / path).is_file():
                write_png(self.folder / path, pixels)
        return Picture(name=sample.name, step=step, **entry)
