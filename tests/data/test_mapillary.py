from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lossmaxpool.data import DataConfig, DataError, MapillaryVistas, open_dataset
from tests.data.trees import VISTAS_LABELS, ids, mapillary, vistas_config

# The trees are smaller than the set.
pytestmark = pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")

NAMES = {"training": ["aB-1", "_zz"]}


def test_labels_that_are_not_evaluated_are_unlabeled(tmp_path: Path) -> None:
    dataset = MapillaryVistas(mapillary(tmp_path, NAMES, ["v1.2"]), "train")
    assert dataset.labels.names == ("Bird", "Road")
    assert dataset.labels.colors == ((165, 42, 42), (128, 64, 128))
    table = torch.tensor([0, 255, 1, 255], dtype=torch.uint8)
    truth = ids(1, range(4))  # "_zz" is the second that was written and the first in order
    assert dataset.sample_name(0) == "_zz"
    assert torch.equal(dataset.mask(0), table[torch.from_numpy(truth).long()])


def test_the_version_decides_config_and_masks(tmp_path: Path) -> None:
    mapillary(tmp_path, NAMES, ["v1.2", "v2.0"])
    renamed = [(f"New {name}", evaluate, color) for name, evaluate, color in VISTAS_LABELS]
    vistas_config(tmp_path / "config_v2.0.json", renamed)
    config = DataConfig("mapillary-vistas", tmp_path, vistas_version="v2.0")
    dataset = open_dataset(config, "train")
    assert isinstance(dataset, MapillaryVistas)
    assert dataset.labels.names == ("New Bird", "New Road")
    assert dataset.pairs[0].mask.parent == tmp_path / "training" / "v2.0" / "labels"
    assert MapillaryVistas(tmp_path, "train").labels.names == ("Bird", "Road")


def test_the_layout_of_the_first_download(tmp_path: Path) -> None:
    root = mapillary(tmp_path, NAMES, [""])
    dataset = MapillaryVistas(root, "train")
    assert dataset.pairs[0].mask.parent == root / "training" / "labels"
    with pytest.raises(DataError, match=r"config_v2\.0\.json cannot be read.*Expected training/"):
        MapillaryVistas(root, "train", "v2.0")


def test_65_of_66(tmp_path: Path) -> None:
    """As many labels as version 1.2 has, of which only "Unlabeled" is not evaluated."""
    root = mapillary(tmp_path, NAMES, ["v1.2"])
    labels = [(f"Label {i}", i < 65, (i, i, i)) for i in range(66)]
    vistas_config(root / "config_v1.2.json", labels)
    assert MapillaryVistas(root, "train").labels.num_classes == 65


def test_an_unknown_version(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'v2'\. Did you mean 'v2\.0'"):
        MapillaryVistas(tmp_path, "train", "v2")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["[", "{}", '{"labels": [{"readable": "x"}]}', '{"labels": 3}'])
def test_a_config_of_another_kind(tmp_path: Path, text: str) -> None:
    root = mapillary(tmp_path, NAMES, ["v1.2"])
    (root / "config_v1.2.json").write_text(text)
    with pytest.raises(DataError, match=r"config_v1\.2\.json is not a list of .* labels"):
        MapillaryVistas(root, "train")
