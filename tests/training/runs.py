"""The smallest runs that still have an encoder, a decoder with dropout and batch statistics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lossmaxpool.data import IGNORE_INDEX, DataConfig
from lossmaxpool.models import ModelConfig
from lossmaxpool.runs.config import (
    HardwareConfig,
    OptimizationConfig,
    ReportingConfig,
    SamplingConfig,
    TrainConfig,
)
from lossmaxpool.training.checkpoints import LAST


def tiny(method: str = "loss-only", **hardware: Any) -> TrainConfig:
    """Eight steps, evaluations after 3, 6 and 8, checkpoints after 2 and 4 besides.

    Where crops are drawn by class, the IoU decides those of the last two steps. The scenes are kept
    for the next run of the process: drawing them takes longer than the eight steps.
    """
    here = HardwareConfig(accelerator="cpu", workers=0, threads=1, cache=True)
    return TrainConfig(
        method=method,
        data=DataConfig(scene_size=(48, 64), train_scenes=6, val_scenes=3),
        model=ModelConfig(
            "DeepLabV3Plus",
            "tu-test_resnet",
            weights="none",
            decoder_options={"decoder_channels": 8},
        ),
        optimization=OptimizationConfig(steps=8, batch_size=4, crop_size=(32, 32), lr=0.01),
        hardware=replace(here, **hardware),
        sampling=SamplingConfig(blend=0.9, update_interval=3),
        reporting=ReportingConfig(eval_every=3, checkpoint_every=2, log_every=1, examples=2),
    )


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (2, 3, 4, 4) with a gradient, and labels of four times their size."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator).requires_grad_()
    target = torch.randint(3, (2, 16, 16), generator=generator)
    target[:, :3] = IGNORE_INDEX
    return logits, target


def weights(folder: Path, name: str = LAST) -> dict[str, torch.Tensor]:
    """Everything that a checkpoint of a run folder knows about the network."""
    state: dict[str, torch.Tensor] = torch.load(folder / name, weights_only=True)["state_dict"]
    return state


def assert_same_weights(a: Path, b: Path, name: str = LAST) -> None:
    left, right = weights(a, name), weights(b, name)
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different
