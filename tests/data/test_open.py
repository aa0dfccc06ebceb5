from __future__ import annotations

from pathlib import Path

import pytest

from lossmaxpool.data import CamVid, DataConfig, DataError, Folders, StreetScenes, open_dataset
from tests.data.trees import camvid, split_folders


def test_street_scenes_need_nothing() -> None:
    config = DataConfig(scene_size=(40, 60), train_scenes=5, val_scenes=3, scene_seed=2)
    train, val = open_dataset(config, "train"), open_dataset(config, "val")
    assert isinstance(train, StreetScenes)
    assert (len(train), len(val)) == (5, 3)
    assert train[0].image.shape == (3, 40, 60)
    assert train.seed == 2


@pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")
def test_camvid(tmp_path: Path) -> None:
    config = DataConfig("camvid", camvid(tmp_path, {"train": ["0001TP_1"]}))
    assert isinstance(open_dataset(config, "sequence-val"), CamVid)


def test_folders(tmp_path: Path) -> None:
    config = DataConfig("folders", split_folders(tmp_path, {"train": 1}))
    assert isinstance(open_dataset(config, config.train_split), Folders)


@pytest.mark.parametrize("name", ["camvid", "folders"])
def test_a_root_is_needed(name: str) -> None:
    with pytest.raises(DataError, match=f"'{name}' needs a root"):
        open_dataset(DataConfig(name), "train")  # type: ignore[arg-type]


def test_an_unknown_data_set() -> None:
    with pytest.raises(DataError, match=r"'camvit'\. Did you mean 'camvid'"):
        open_dataset(DataConfig("camvit", Path()), "train")  # type: ignore[arg-type]
