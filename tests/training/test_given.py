"""Data sets and networks that come from Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from lossmaxpool.data import DataConfig, DataError, LabelSet, StreetScenes, WrappedDataset
from lossmaxpool.inference import load_checkpoint
from lossmaxpool.models import ModelConfig
from lossmaxpool.report import format_table
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainConfig, TrainingError, compare, train
from tests.models.test_outside import Tiny
from tests.training.runs import tiny

LABELS = LabelSet(("sky", "road"), ((0, 0, 255), (90, 90, 90)))


class Rows(Dataset[tuple[torch.Tensor, np.ndarray]]):
    """Images of another library: half sky, half road."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[torch.Tensor, np.ndarray]:
        if index >= len(self):
            raise IndexError
        mask = np.zeros((40, 48), dtype=np.uint8)
        mask[20 + index :] = 1
        image = torch.from_numpy(np.stack([200 * mask + 20] * 3))
        return image, mask


def config(**options: int) -> TrainConfig:
    base = replace(tiny("lmp"), data=DataConfig())
    return replace(base, optimization=replace(base.optimization, steps=4, **options))


def test_any_data_set_trains_and_resumes(tmp_path: Path) -> None:
    wrapped = WrappedDataset(Rows(), LABELS, name="halves")
    jittered = config()
    jittered = replace(
        jittered, optimization=replace(jittered.optimization, color_jitter=0.3, hue_jitter=0.1)
    )
    folders = compare(
        jittered, ["base", "lmp"], [0], tmp_path / "out", train_set=wrapped, val_set=wrapped
    )
    record = RunRecord.read(folders[1])
    assert (record.data.name, record.data.train_images) == ("halves", 5)
    assert record.classes == ["sky", "road"]
    assert record.config["data"]["name"] == "python"
    assert record.config["optimization"]["hue_jitter"] == 0.1
    assert "on halves" in format_table(folders)
    again = train(
        replace(jittered, method="lmp"),
        folders[1],
        resume=True,
        train_set=wrapped,
        val_set=wrapped,
    )
    assert again.finished


def test_what_is_no_data_set_of_ours_is_told_how_to_become_one(tmp_path: Path) -> None:
    wrapped, out = WrappedDataset(Rows(), LABELS, name="halves"), tmp_path / "out"
    with pytest.raises(TypeError, match=r"got a Rows: wrap the data set, as in WrappedDataset"):
        train(config(), out, train_set=Rows(), val_set=wrapped)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="go together"):
        train(config(), out, train_set=wrapped)
    scenes = StreetScenes("val", 2)
    with pytest.raises(TrainingError, match=r"halves has the 2 classes sky, road, and street-scen"):
        train(config(), out, train_set=wrapped, val_set=scenes)
    named = replace(config(), data=DataConfig(root=tmp_path))
    with pytest.raises(ValueError, match="names the data set 'folders'"):
        train(named, out, train_set=wrapped, val_set=wrapped)
    floats = WrappedDataset([(np.zeros((3, 8, 8)), np.zeros((8, 8), int))], LABELS)
    with pytest.raises(DataError, match=r"image of item 0 of wrapped is torch.float64"):
        train(config(), out, train_set=wrapped, val_set=floats)
    assert not out.exists()


def test_any_network_trains_and_is_loaded_again(tmp_path: Path) -> None:
    network = Tiny(12)
    before = network.head.weight.clone()
    base = replace(config(), method="base", data=tiny().data, model=ModelConfig())
    record = train(base, tmp_path / "object", model=network)
    assert record.config["model"]["architecture"] == "python"
    assert torch.equal(network.head.weight, before), "a copy was trained"
    with pytest.raises(ValueError, match=r"given from Python: give it again"):
        load_checkpoint(tmp_path / "object")
    loaded = load_checkpoint(tmp_path / "object", model=network).model
    assert not torch.equal(network.head.weight, before), "its weights are those of the checkpoint"
    # By import path, the checkpoint says all that is needed.
    path = ModelConfig(module="tests.models.test_outside.Tiny")
    train(replace(base, model=path), tmp_path / "path")
    images = torch.zeros(1, 3, 16, 16)
    assert load_checkpoint(tmp_path / "path").model(images).shape == loaded(images).shape
    with pytest.raises(ValueError, match="describes its network itself"):
        load_checkpoint(tmp_path / "path", model=network)


def test_a_network_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    base, out = replace(config(), data=tiny().data, model=ModelConfig()), tmp_path / "out"
    with pytest.raises(TrainingError, match="Tiny returns 7 classes, and the data set has 12: "):
        train(base, out, model=Tiny(7))
    with pytest.raises(
        TrainingError, match=r"Conv2d cannot be called with images \(1, 3, 32, 32\)"
    ):
        train(base, out, model=nn.Conv2d(4, 12, 1))
    with pytest.raises(TrainingError, match=r"logits of \(64, 64\) for a crop of \(32, 32\)"):
        train(base, out, model=nn.Sequential(Tiny(12), nn.Upsample(scale_factor=8)))
    with pytest.raises(TypeError, match=r"expected a torch.nn.Module as the model, got a str"):
        train(base, out, model="Unet")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="names the network 'Unet', and a model is given"):
        train(replace(base, model=ModelConfig("Unet")), out, model=Tiny(12))
    assert not out.exists()
