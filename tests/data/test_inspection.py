from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lossmaxpool.data import (
    CamVid,
    DataConfig,
    DataError,
    Folders,
    StreetScenes,
    check_before_training,
    class_statistics,
    format_report,
    inspect_data,
    open_dataset,
)
from tests.data.trees import camvid, ids, picture, save, split_folders
from tests.tolerances import MEAN_BRIGHTNESS


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
    # 49 of 1000 pixels are less than a twentieth; with the next class it would be more.

    class One(StreetScenes):
        def mask(self, index: int) -> torch.Tensor:
            return mask

    one = One(num_images=1)
    one.labels = type(one.labels)(("a", "b", "c", "d", "e"), ((0, 0, 0),) * 5)
    statistics = class_statistics(one)
    assert statistics.pixels.tolist() == [[818, 50, 49, 83, 0]]
    assert statistics.ignored.tolist() == [0]
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
    for expected in ("p1.png is not a picture", "p2.png holds the values 77", "is 5x5", "colors"):
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


def test_masks_without_a_labeled_pixel(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3})
    save(tmp_path / "train" / "masks" / "p2.png", np.full((12, 16), 255, dtype=np.uint8))
    assert messages(Folders(tmp_path, "train")) == [
        f"warning: 1 of 3 masks of {tmp_path.name}/train have no labeled pixel: they teach nothing."
    ]


def test_a_class_that_one_split_lacks_is_marked(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3}, values=(0, 1))
    split_folders(tmp_path, {"val": 2}, values=(0, 2))
    text = format_report(inspect_data(Folders(tmp_path, "train"), Folders(tmp_path, "val")))
    ends = [line.split()[1] + line.rpartition("  ")[2] for line in text.splitlines() if line]
    assert {"roadnot in val", "polenot in train"} <= set(ends)


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
    assert "0 images, 0 labeled pixels" in report


def test_the_table_has_a_column_per_split_and_the_most_frequent_class_first(
    tmp_path: Path,
) -> None:
    split_folders(tmp_path, {"train": 2, "val": 1})
    for i in range(2):
        rows = np.repeat([2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 0], 16).astype(np.uint8)
        save(tmp_path / "train" / "masks" / f"p{i}.png", rows.reshape(12, 16))
    report = format_report(inspect_data(Folders(tmp_path, "train"), Folders(tmp_path, "val")))
    lines = report.splitlines()
    assert lines[0].startswith(f"{tmp_path.name}/train: 2 images")
    assert lines[1].startswith(f"{tmp_path.name}/val: 1 images")
    assert lines[3].split() == ["train", "val"]
    rows_shown = [line.split() for line in lines[5:8]]
    assert [row[1] for row in rows_shown] == ["pole", "road", "sky"]
    assert [row[2] for row in rows_shown] == ["58.333", "33.333", "8.333"]
    assert [row[6].count("#") for row in rows_shown] == [24, 14, 3]


# Faults that a single file does not show.


def black_and_white_among_others(root: Path) -> Path:
    """One mask of 0 and 255 among two of 0 and 1, as an editor saves them."""
    split_folders(root, {"train": 3}, values=(0, 1))
    save(root / "train" / "masks" / "p1.png", ids(1, (0, 255)))
    (root / "classes.txt").write_text("background\ncrack\n")
    return root


def counted(dataset: Folders) -> torch.Tensor:
    return class_statistics(dataset).pixels


def test_masks_of_0_and_255_among_masks_of_0_and_1_are_named(tmp_path: Path) -> None:
    dataset = Folders(black_and_white_among_others(tmp_path), "train")
    (problem,) = inspect_data(dataset).problems
    assert problem.severity == "error"
    assert "1 of 3 masks" in problem.message
    assert 'add "ignore": 255 to classes.json' in problem.message
    assert problem.samples == (f"{tmp_path.name}/train/p1",)
    with pytest.raises(DataError, match=r"binary masks that were saved in two ways.*train/p1\)"):
        check_before_training(dataset, counted(dataset))


@pytest.mark.parametrize("way_out", ["ignore", "beside another class"])
def test_255_beside_a_class_or_by_the_classes_file_is_unlabeled(
    tmp_path: Path, way_out: str
) -> None:
    black_and_white_among_others(tmp_path)
    if way_out == "ignore":
        (tmp_path / "classes.json").write_text('{"names": ["no", "crack"], "ignore": 255}')
    else:
        save(tmp_path / "train" / "masks" / "p2.png", ids(2, (0, 1, 255)))
    dataset = Folders(tmp_path, "train")
    assert inspect_data(dataset).problems == ()
    check_before_training(dataset, counted(dataset))


def save_colored(path: Path, indices: np.ndarray, colors: list[tuple[int, int, int]]) -> None:
    mask = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    mask.putpalette([channel for color in colors for channel in color])
    mask.save(path)


@pytest.mark.parametrize("differ", [True, False])
def test_palettes_that_contradict_one_another_are_said(tmp_path: Path, differ: bool) -> None:
    split_folders(tmp_path, {"train": 2})
    red, green = (255, 0, 0), (0, 255, 0)
    masks = tmp_path / "train" / "masks"
    save_colored(masks / "p0.png", ids(0, (0, 1)), [(0, 0, 0), red])
    # Class 2 is only in this mask, so its color cannot contradict another.
    other = [(0, 0, 0), green if differ else red, green]
    save_colored(masks / "p1.png", ids(1, (0, 1, 2)), other)
    dataset = Folders(tmp_path, "train")
    problems = inspect_data(dataset).problems
    assert len(problems) == differ
    if differ:
        assert "road is (255, 0, 0) in p0 and (0, 255, 0) in p1" in problems[0].message
        with pytest.warns(UserWarning, match=r"palettes of 1 masks .*train/p1\)"):
            check_before_training(dataset, counted(dataset))
    else:
        check_before_training(dataset, counted(dataset))


def test_pictures_of_12_bits_in_files_of_16_are_said_and_their_range_can_be_given(
    tmp_path: Path,
) -> None:
    split_folders(tmp_path, {"train": 2})
    ramp = np.linspace(0, 4095, 192).reshape(12, 16).astype(np.uint16)
    for i, suffix in enumerate(("png", "tif")):
        (tmp_path / "train" / "images" / f"p{i}.png").unlink()
        save(tmp_path / "train" / "images" / f"p{i}.{suffix}", ramp + i)
    dark = Folders(tmp_path, "train")
    (message,) = messages(dark)[:1]
    assert message.startswith("warning: The pictures of ")
    assert "--data.image_range '[0, 4351]'" in message or "'[0, 4095]'" in message
    with pytest.warns(UserWarning, match="nearly black"):
        check_before_training(dark, counted(dark))
    config = DataConfig("folders", tmp_path, image_range=(0, 4095))
    bright = open_dataset(config, "train")
    assert bright[0].image.max() == 255
    assert bright[0].image.float().mean() == pytest.approx(127.5, abs=MEAN_BRIGHTNESS)
    assert isinstance(bright, Folders)
    assert messages(bright) == []
    check_before_training(bright, counted(bright))


def test_an_image_range_that_cannot_be_applied_is_refused(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1})
    with pytest.raises(DataError, match=r"the smaller first, as in \[0, 4095\]; got \[9, 3\]"):
        Folders(tmp_path, "train", image_range=(9, 3))
    with pytest.raises(DataError, match="image_range is for the data set 'folders'"):
        open_dataset(DataConfig(image_range=(0, 4095)), "train")


def test_pictures_that_a_tag_turns_are_said(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 2})
    tag = Image.Exif()
    tag[0x0112] = 3  # half a turn: the size does not reveal it
    Image.fromarray(picture(9)).save(tmp_path / "train" / "images" / "p1.png", exif=tag)
    (problem,) = inspect_data(Folders(tmp_path, "train")).problems
    assert problem.severity == "warning"
    assert problem.message.startswith("1 of 2 pictures")
    assert "orientation tag" in problem.message
    assert problem.samples == (f"{tmp_path.name}/train/p1",)
