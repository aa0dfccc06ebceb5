from __future__ import annotations

import numpy as np
import torch

from lossmaxpool.data import IGNORE_INDEX, Sample
from lossmaxpool.training.pictures import evenly_spaced, heat_map, paint


def test_evenly_spaced_stays_within_the_split() -> None:
    assert evenly_spaced(3, 3) == [0, 1, 2]
    assert evenly_spaced(2, 5) == [0, 1]
    assert evenly_spaced(5, 0) == []


def test_ignored_pixels_are_black() -> None:
    mask = torch.tensor([[0, IGNORE_INDEX]], dtype=torch.uint8)
    assert paint(mask, [(10, 20, 30), (1, 1, 1)]).tolist() == [[[10, 20, 30], [0, 0, 0]]]


def test_no_weight_shows_the_dimmed_image() -> None:
    image = torch.full((3, 2, 2), 200, dtype=torch.uint8)
    sample = Sample(image, torch.zeros(2, 2, dtype=torch.uint8), "a")
    assert np.ptp(heat_map(sample, torch.zeros(2, 2)), axis=-1).max() == 0
    assert (heat_map(sample, torch.zeros(2, 2)) < 200).all()
