"""Data sets that come from Python instead of a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from lossmaxpool.data import DataConfig, LabelSet, StreetScenes, WrappedDataset
from lossmaxpool.report import format_table
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainConfig, TrainingError, compare, train
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
    assert not out.exists()
