from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from lossmaxpool.data import IGNORE_INDEX
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training.pictures import max_pooling_weights


def test_pictures_have_the_size_of_the_image(finished: Path) -> None:
    for example in RunRecord.read(finished).examples:
        for kind in ("image", "truth", "prediction", "weights"):
            with Image.open(finished / getattr(example, kind)) as picture:
                assert (picture.size, picture.mode) == ((64, 48), "RGB")


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
