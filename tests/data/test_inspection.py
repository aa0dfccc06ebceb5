from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lossmaxpool.data import (
    CamVid,
    DataError,
    Folders,
    StreetScenes,
    class_statistics,
    format_report,
    inspect_data,
)
from lossmaxpool.data.inspection import count_pixels
from tests.data.trees import camvid, ids, picture, save, split_folders


def messages(*datasets: Folders) -> list[str]:
    return [
        f"{problem.severity}: {problem.message}" for problem in inspect_data(*datasets).problems
    ]


def test_pixels_are_counted_per_image_and_class(tmp_path: Path) -> None:
    dataset = Folders(split_folders(tmp_path, {"train": 3}), "train")
    statistics = class_statistics(dataset)
    assert statistics.pixels.dtype == torch.int64
    assert statistics.sample_names == ("p0", "p1", "p2")
    for i in range(3):
        truth = ids(i, (0, 1, 2, 255))
        assert statistics.pixels[i].tolist() == [int((truth == c).sum()) for c in range(3)]
        assert statistics.ignored[i] == (truth == 255).sum()


def test_every_pixel_is_counted_once() -> None:
    dataset = StreetScenes(num_images=3, size=(48, 64))
    statistics = class_statistics(dataset)
    assert (statistics.pixels.sum(1) + statistics.ignored).tolist() == [48 * 64] * 3
    assert statistics.shares.sum().item() == pytest.approx(1)


def test_rare_and_absent_classes() -> None:
    mask = torch.zeros(10, 100, dtype=torch.uint8)
    mask[0, :50], mask[1, :49], mask[2, :83] = 1, 2, 3
    pixels, ignored = count_pixels(mask, 5)
    assert pixels.tolist() == [818, 50, 49, 83, 0]
    assert ignored == 0
    # 49 of 1000 pixels are less than a twentieth; with the next class it would be more.

    class One(StreetScenes):
        def mask(self, index: int) -> torch.Tensor:
            return mask

    one = One(num_images=1)
    one.labels = type(one.labels)(("a", "b", "c", "d", "e"), ((0, 0, 0),) * 5)
    statistics = class_statistics(one)
    assert statistics.rare == (2,)
    assert statistics.absent == (4,)
    assert statistics.images.tolist() == [1, 1, 1, 1, 0]


def test_clean_data_have_no_problems(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3, "val": 2})
    inspection = inspect_data(Folders(tmp_path, "train"), Folders(tmp_path, "val"))
    assert inspection.ok
    assert inspection.problems == ()
    assert "No problems found." in format_report(inspection)


@pytest.mark.filterwarnings("ignore:.* images here, but was published:UserWarning")
def test_the_report(tmp_path: Path) -> None:
    camvid(tmp_path, {"train": ["0001TP_1", "0006R0_1"]})
    report = format_report(inspect_data(CamVid(tmp_path, "train")))
    assert report.startswith("camvid/train: 2 images, ")
    assert "pedestrian" in report
    assert report.isascii()


def test_all_problems_of_a_split_are_found_at_once(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 6})
    folder = tmp_path / "train"
    (folder / "images" / "p1.png").write_bytes(b"\x89PNG broken")
    save(folder / "masks" / "p2.png", ids(2, (0, 77)))
    save(folder / "masks" / "p3.png", ids(3, (0, 1), (5, 5)))
    save(folder / "masks" / "p4.png", picture(1))
    found = messages(Folders(tmp_path, "train"))
    assert len(found) == 4
    assert all(message.startswith("error") for message in found)
    for expected in ("p1.png is not a picture", "p2.png holds the values 77", "is 5x5", "colours"):
        assert any(expected in message for message in found)


def test_statistics_cover_the_samples_that_could_be_read(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3})
    (tmp_path / "train" / "masks" / "p1.png").write_bytes(b"")
    inspection = inspect_data(Folders(tmp_path, "train"))
    assert not inspection.ok
    assert inspection.statistics[0].sample_names == ("p0", "p2")
    assert inspection.statistics[0].pixels.shape == (2, 3)
    with pytest.raises(DataError, match=r"p1\.png"):
        class_statistics(Folders(tmp_path, "train"))


def test_masks_without_a_labelled_pixel(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3})
    save(tmp_path / "train" / "masks" / "p2.png", np.full((12, 16), 255, dtype=np.uint8))
    assert messages(Folders(tmp_path, "train")) == [
        f"warning: 1 of 3 masks of {tmp_path.name}/train have no labelled pixel: "
        "they teach nothing."
    ]


def test_absent_classes_are_named(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3}, values=(0, 2))
    (message,) = messages(Folders(tmp_path, "train"))
    assert message.startswith("warning: No pixel in ")
    assert "belongs to: road." in message


def test_pictures_in_two_splits(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3, "val": 2})
    save(tmp_path / "val" / "images" / "p1.png", picture(2))
    inspection = inspect_data(Folders(tmp_path, "train"), Folders(tmp_path, "val"))
    (problem,) = inspection.problems
    assert problem.severity == "error"
    assert "also in another split" in problem.message
    root = tmp_path.name
    assert problem.samples == (f"{root}/val/p1 = {root}/train/p2",)
    assert f"  - {root}/val/p1 = {root}/train/p2" in format_report(inspection)


def test_pictures_twice_in_one_split(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3})
    save(tmp_path / "train" / "images" / "p1.png", picture(2))
    (message,) = messages(Folders(tmp_path, "train"))
    assert message.startswith("warning: 1 of 3 pictures")


def test_an_empty_or_broken_split_still_has_a_report(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 7})
    for mask in (tmp_path / "train" / "masks").iterdir():
        mask.write_bytes(b"")
    report = format_report(inspect_data(Folders(tmp_path, "train")))
    assert report.count("error: ") == 7
    assert "0 images, 0 labelled pixels" in report
