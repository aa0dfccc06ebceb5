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

from .conftest import LABELS


@pytest.fixture
def trained(brightness: nn.Module, description: ModelDescription) -> TrainedModel:
    return TrainedModel(brightness.eval(), description, step=1, file=Path("last.ckpt"))


def write_image(path: Path, ids: np.ndarray) -> None:
    """An image that :class:`Brightness` reads as these ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((ids[..., None].repeat(3, 2) * 127.5).astype(np.uint8)).save(path)


@pytest.fixture
def images(tmp_path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ids = {
        "a": rng.integers(3, size=(6, 9)),
        "sub/b": rng.integers(3, size=(31, 17)),
        "sub/c.front": rng.integers(3, size=(1, 1)),
    }
    for name, array in ids.items():
        write_image(tmp_path / "images" / f"{name}.png", array)
    write_image(tmp_path / "images" / ".thumbnails" / "a.png", ids["a"])
    return ids


def test_writes_ids_and_overlays_at_the_images_size(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    seen: list[tuple[int, int]] = []
    written = predict_folder(
        trained,
        tmp_path / "images",
        tmp_path / "out",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2 * len(images) + 1
    legend = np.asarray(Image.open(tmp_path / "out" / "legend.png"))
    shown = {tuple(color) for color in legend.reshape(-1, 3).tolist()}
    assert {*LABELS.colors} < shown
    for prediction, (name, ids) in zip(written, images.items(), strict=True):
        assert prediction.ids == tmp_path / "out" / "ids" / f"{name}.png"
        mask = Image.open(prediction.ids)
        assert mask.mode == "P"
        assert mask.getpalette()[:9] == [channel for color in LABELS.colors for channel in color]
        assert np.array_equal(np.asarray(mask), ids)
        overlay = np.asarray(Image.open(prediction.overlay), dtype=float)
        image = np.asarray(Image.open(prediction.image), dtype=float)
        expected = 0.5 * image + 0.5 * np.array(LABELS.colors, dtype=float)[ids]
        assert np.abs(overlay - expected).max() <= 0.5


def test_a_folder_in_use_is_refused_unless_told(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"out is not empty; take another folder.*--overwrite"):
        predict_folder(trained, tmp_path / "images", out)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    predict_folder(trained, tmp_path / "images", out, overwrite=True)
    assert (out / "thesis.txt").read_text() == "mine"


def test_a_file_is_no_folder_for_results(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    (tmp_path / "out").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="out is a file; give a folder"):
            predict_folder(trained, tmp_path / "images", tmp_path / "out", overwrite=overwrite)


def test_results_among_the_images_are_refused(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ValueError, match="is inside"):
        predict_folder(trained, tmp_path / "images", tmp_path / "images" / "out")


def test_two_images_of_one_name_are_refused(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    write_image(tmp_path / "images" / "a.bmp", images["a"])
    with pytest.raises(ValueError, match=r"a.bmp and .*a.png would be predicted into one file"):
        predict_folder(trained, tmp_path / "images", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_linked_folders_are_predicted_and_hidden_files_are_not(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    write_image(tmp_path / "disk" / "far away.png", images["a"])
    (tmp_path / "images" / "city").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "images" / "._a.png").touch()
    written = predict_folder(trained, tmp_path / "images", tmp_path / "out")
    names = {file.ids.relative_to(tmp_path / "out" / "ids").as_posix() for file in written}
    assert names == {f"{name}.png" for name in images} | {"city/far away.png"}


def test_a_broken_image_is_named(tmp_path: Path, trained: TrainedModel) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "fake.png").write_text("not a picture")
    with pytest.raises(ValueError, match=r"fake.png is not a picture file"):
        predict_folder(trained, tmp_path / "images", tmp_path / "out")


def test_no_images_are_said_so(tmp_path: Path, trained: TrainedModel) -> None:
    with pytest.raises(ValueError, match="there is no folder or image"):
        predict_folder(trained, tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no images \(.png"):
        predict_folder(trained, tmp_path / "empty", tmp_path / "out")


def test_an_opacity_outside_0_to_1_is_refused(tmp_path: Path, trained: TrainedModel) -> None:
    with pytest.raises(ValueError, match="opacity is 50"):
        predict_folder(trained, tmp_path, tmp_path / "out", opacity=50)


def test_damaged_weights_predict_nothing(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    next(trained.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"logits of .*a.png are not finite"):
        predict_folder(trained, tmp_path / "images", tmp_path / "out")


def test_one_image_is_predicted(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    (written,) = predict_folder(trained, tmp_path / "images" / "a.png", tmp_path / "images" / "out")
    assert written.ids == tmp_path / "images" / "out" / "ids" / "a.png"
    assert np.array_equal(np.asarray(Image.open(written.ids)), images["a"])
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(ValueError, match=r"notes\.txt is not an image that can be read \(\.png"):
        predict_folder(trained, tmp_path / "notes.txt", tmp_path / "out")


def test_a_damaged_image_is_skipped_where_somebody_hears_of_it(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    (tmp_path / "images" / "sub" / "a.png").write_text("not a picture")
    heard: list[tuple[Path, str]] = []
    written = predict_folder(
        trained,
        tmp_path / "images",
        tmp_path / "out",
        on_damaged=lambda file, reason: heard.append((file, reason)),
    )
    assert len(written) == len(images)
    ((file, reason),) = heard
    assert file == tmp_path / "images" / "sub" / "a.png"
    assert "is not a picture file" in reason


def test_files_that_are_no_images_are_said(
    tmp_path: Path, trained: TrainedModel, images: dict[str, np.ndarray]
) -> None:
    for name in ("sub/a.gif", "notes.txt"):
        (tmp_path / "images" / name).touch()
    with pytest.warns(UserWarning, match=r"2 files in .*images passed over: notes.txt, sub/a.gif;"):
        assert len(predict_folder(trained, tmp_path / "images", tmp_path / "out")) == len(images)


def test_images_of_12_bits_are_said_or_scaled(tmp_path: Path, trained: TrainedModel) -> None:
    values = np.array([[0, 2048, 4095]], dtype=np.uint16)
    (tmp_path / "images").mkdir()
    Image.fromarray(values).save(tmp_path / "images" / "a.png")
    with pytest.warns(UserWarning, match=r"1 of 1 images, .*a.png first, have 16 bits .*black"):
        predict_folder(trained, tmp_path / "images", tmp_path / "out")
    (written,) = predict_folder(
        trained, tmp_path / "images", tmp_path / "out", overwrite=True, image_range=(0, 4095)
    )
    assert np.asarray(Image.open(written.ids)).tolist() == [[0, 1, 2]]


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
        self.centers = nn.Parameter(torch.arange(19) / 255)

    def forward(self, images: Tensor) -> Tensor:
        return -(images[:, :1] - self.centers.view(1, -1, 1, 1)).abs() * 255


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
    # The picture keeps the colors of the classes.
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
