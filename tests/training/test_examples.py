from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lossmaxpool.data import IGNORE_INDEX, Sample
from lossmaxpool.training.examples import evenly_spaced, heat_map, max_pooling_weights, paint
from lossmaxpool.training.record import RunRecord


def test_pictures_have_the_size_of_the_image(finished: Path) -> None:
    for example in RunRecord.read(finished).examples:
        for kind in ("image", "truth", "prediction", "weights"):
            with Image.open(finished / example[kind]) as picture:
                assert (picture.size, picture.mode) == ((64, 48), "RGB")


def test_evenly_spaced_stays_within_the_split() -> None:
    assert evenly_spaced(3, 3) == [0, 1, 2]
    assert evenly_spaced(2, 5) == [0, 1]
    assert evenly_spaced(5, 0) == []


def test_weights_sit_on_the_hard_pixels() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 0] = 8.0
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    target[0, 0] = 1  # a quarter of the pixels is wrong
    target[0, 3, 3] = IGNORE_INDEX
    weights = max_pooling_weights(logits, target, p=1.3, min_support=0.25)[0]
    assert (weights[0] > 0.9).all()
    assert (weights[1:] < 0.01).all()
    assert weights[3, 3] == 0


def test_ignored_pixels_are_black() -> None:
    mask = torch.tensor([[0, IGNORE_INDEX]], dtype=torch.uint8)
    assert paint(mask, [(10, 20, 30), (1, 1, 1)]).tolist() == [[[10, 20, 30], [0, 0, 0]]]


def test_no_weight_shows_the_dimmed_image() -> None:
    image = torch.full((3, 2, 2), 200, dtype=torch.uint8)
    sample = Sample(image, torch.zeros(2, 2, dtype=torch.uint8), "a")
    assert np.ptp(heat_map(sample, torch.zeros(2, 2)), axis=-1).max() == 0
    assert (heat_map(sample, torch.zeros(2, 2)) < 200).all()
