from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lossmaxpool.data import IGNORE_INDEX, EvalTransform, open_dataset
from lossmaxpool.inference import load_checkpoint
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import train
from lossmaxpool.training.checkpoints import LAST
from lossmaxpool.training.pictures import EVOLUTION, evenly_spaced, paint
from tests.training.runs import tiny


def test_every_evaluation_pictures_the_same_training_images(finished: Path) -> None:
    train_set = open_dataset(tiny().data, "train")
    names = [train_set.sample_name(index) for index in evenly_spaced(len(train_set), 2)]
    entries = RunRecord.read(finished).evolution
    assert [(entry.step, entry.name) for entry in entries] == [
        (step, name) for step in (3, 6, 8) for name in names
    ]
    pictures = {entry.prediction for entry in entries}
    assert len(pictures) == len(entries)
    # The report reads them, and every picture is there, at the size of the image.
    for shot in RunRecord.read(finished).evolution:
        for path in (shot.image, shot.truth, shot.prediction):
            with Image.open(finished / path) as picture:
                assert (picture.size, picture.mode) == ((64, 48), "RGB")


@pytest.mark.parametrize(("count", "pictured"), [(0, 0), (9, 6)])
def test_no_image_and_all_of_them(count: int, pictured: int, tmp_path: Path) -> None:
    config = tiny()
    short = replace(config.optimization, steps=1)
    reporting = replace(config.reporting, evolution=count, eval_every=0)
    record = train(replace(config, optimization=short, reporting=reporting), tmp_path / "run")
    assert len({entry.name for entry in record.evolution}) == pictured
    assert (tmp_path / "run" / EVOLUTION).exists() == (pictured > 0)


def test_the_last_picture_is_what_the_last_checkpoint_predicts(finished: Path) -> None:
    trained = load_checkpoint(finished / LAST)
    description = trained.description
    train_set = open_dataset(tiny().data, "train")
    sample = train_set[evenly_spaced(len(train_set), 2)[1]]
    image, target = EvalTransform(description.mean, description.std)(sample)
    with torch.no_grad():
        logits = trained.model(image[None])
    size = target.shape
    ids = torch.nn.functional.interpolate(logits, size, mode="bilinear").argmax(dim=1)[0]
    expected = paint(ids.where(target != IGNORE_INDEX, IGNORE_INDEX), description.colors)

    entry = RunRecord.read(finished).evolution[-1]
    with Image.open(finished / entry.prediction) as picture:
        # Two ways to upsample may part on a pixel whose best two classes are level.
        assert (np.asarray(picture) != expected).any(axis=-1).mean() < 0.01
    with Image.open(finished / entry.truth) as picture:
        assert (np.asarray(picture) == paint(sample.mask, description.colors)).all()
