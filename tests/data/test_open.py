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


def scenes() -> StreetScenes:
    return StreetScenes("train", 3, (40, 60))


def no_data_set() -> list[int]:
    return [1, 2]


def test_functions_by_import_path_return_the_splits() -> None:
    config = DataConfig(train=f"{__name__}:scenes", val=f"{__name__}.scenes")
    assert config.name == "python"
    assert [len(open_dataset(config, split)) for split in ("train", "val")] == [3, 3]
    with pytest.raises(DataError, match="Unknown split 'test'"):
        open_dataset(config, "test")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere:scenes", "there is no module nowhere"),
        (f"{__name__}:scene", "has no scene. Did you mean 'scenes'"),
        (f"{__name__}:no_data_set", "returned a list: .* wrap other data sets, as in Wrapped"),
        ("torch.pi", "'torch.pi': expected a function"),
        ("scenes", "expected an import path"),
    ],
)
def test_a_function_that_does_not_fit(path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(DataConfig(train=path, val=path), "train")


def test_import_paths_come_in_pairs_and_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="go together, got a:b alone"):
        DataConfig(train="a:b")
    with pytest.raises(ValueError, match=r"leave out data\.name and"):
        DataConfig("camvid", tmp_path, train="a:b", val="a:b")
    with pytest.raises(DataError, match="object given from Python"):
        open_dataset(DataConfig("python"), "train")
