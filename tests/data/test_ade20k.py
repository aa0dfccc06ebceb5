from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lossmaxpool.data import ADE20K
from tests.data.trees import ade20k, ids

# The trees are smaller than the set.
pytestmark = pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")


def test_zero_becomes_unlabeled_and_the_rest_moves_down(tmp_path: Path) -> None:
    dataset = ADE20K(ade20k(tmp_path, {"training": 1}), "train")
    truth = torch.from_numpy(ids(1, range(151))).int()
    assert torch.equal(dataset.mask(0).int(), torch.where(truth == 0, 255, truth - 1))


def test_the_archive_may_lie_in_the_root(tmp_path: Path) -> None:
    ade20k(tmp_path / "ADEChallengeData2016", {"validation": 2})
    assert len(ADE20K(tmp_path, "val")) == 2


def test_the_classes_are_those_of_the_benchmark() -> None:
    """Places in the benchmark's list, and its colors there."""
    assert ADE20K.LABELS.num_classes == 150
    for place, name, color in (
        (1, "wall", (120, 120, 120)),
        (3, "sky", (6, 230, 230)),
        (13, "person", (150, 5, 61)),
        (59, "screen door", (0, 173, 255)),
        (137, "traffic light", (41, 0, 255)),
        (150, "flag", (92, 0, 255)),
    ):
        assert (ADE20K.LABELS.names[place - 1], ADE20K.LABELS.colors[place - 1]) == (name, color)
