from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lossmaxpool.inference import (
    InferenceConfig,
    TrainedModel,
    cityscapes_submission_ids,
    predict_folder,
)
from lossmaxpool.models import ModelDescription

CLASSES = [
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
]
LABEL_IDS = [7, 8, 11, 12, 13, 17, 19, *range(20, 29), 31, 32, 33]


def test_train_ids_become_label_ids() -> None:
    ids = cityscapes_submission_ids(torch.arange(19).view(1, 19), CLASSES)
    assert ids.dtype == torch.uint8
    assert ids.tolist() == [LABEL_IDS]


def test_the_order_of_the_classes_does_not_matter() -> None:
    ids = cityscapes_submission_ids(torch.arange(19), CLASSES[::-1])
    assert ids.tolist() == LABEL_IDS[::-1]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (CLASSES[:-1], "18 classes are not Cityscapes' 19: missing bicycle; unknown none"),
        ([*CLASSES[:-1], "tram"], "missing bicycle; unknown tram"),
        ([*CLASSES, "road"], "20 classes are not"),
    ],
)
def test_other_classes_are_refused(classes: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cityscapes_submission_ids(torch.zeros(1, 1, dtype=torch.uint8), classes)


@pytest.mark.parametrize("bad", [19, 255, -1])
def test_an_id_of_no_class_is_refused(bad: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 18"):
        cityscapes_submission_ids(torch.tensor([[0, bad]]), CLASSES)


class Columns(nn.Module):
    """Class c where the red value is c / 255."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.arange(19) / 255)

    def forward(self, images: Tensor) -> Tensor:
        return -(images[:, :1] - self.centres.view(1, -1, 1, 1)).abs() * 255


def test_a_folder_becomes_a_submission(tmp_path: Path, description: ModelDescription) -> None:
    colors = tuple((i, 100, 200) for i in range(19))
    cityscapes = replace(description, classes=tuple(CLASSES), colors=colors)
    trained = TrainedModel(Columns().eval(), cityscapes, step=1, file=Path("last.ckpt"))
    (tmp_path / "images").mkdir()
    pixels = np.arange(19, dtype=np.uint8).repeat(3).reshape(1, 19, 3).repeat(4, 0)
    Image.fromarray(pixels).save(tmp_path / "images" / "berlin_000000_000019_leftImg8bit.png")
    (written,) = predict_folder(
        trained,
        tmp_path / "images",
        tmp_path / "out",
        submission=True,
        opacity=1.0,
        config=InferenceConfig("optimized", tiles=2, overlap=5),
    )
    assert np.asarray(Image.open(written.ids)).tolist() == [LABEL_IDS] * 4
    # The picture keeps the colours of the classes.
    assert np.asarray(Image.open(written.overlay))[0].tolist() == [list(c) for c in colors]
    assert written.ids.name == "berlin_000000_000019_leftImg8bit.png"


def test_a_submission_of_other_classes_is_refused_before_anything_is_written(
    tmp_path: Path, brightness: nn.Module, description: ModelDescription
) -> None:
    with pytest.raises(ValueError, match="3 classes are not Cityscapes' 19"):
        predict_folder(
            TrainedModel(brightness.eval(), description, step=1, file=Path("last.ckpt")),
            tmp_path,
            tmp_path / "out",
            submission=True,
        )
    assert not (tmp_path / "out").exists()
