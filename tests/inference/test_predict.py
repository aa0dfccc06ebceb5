from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from lossmaxpool.inference import TrainedModel, predict_folder
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
    (tmp_path / "images" / "notes.txt").write_text("not an image")
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
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2 * len(images)
    for prediction, (name, ids) in zip(written, images.items(), strict=True):
        assert prediction.ids == tmp_path / "out" / "ids" / f"{name}.png"
        mask = Image.open(prediction.ids)
        assert mask.mode == "L"
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
    with pytest.raises(ValueError, match="out is not empty; take another folder"):
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
    with pytest.raises(ValueError, match="there is no folder"):
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
