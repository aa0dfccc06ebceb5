from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossmaxpool.data import DataError, Folders
from lossmaxpool.data.folders import default_colors, read_classes_file
from tests.data.trees import ids, listed, picture, save, split_folders


def test_one_folder_per_split(tmp_path: Path) -> None:
    dataset = Folders(split_folders(tmp_path / "streets", {"train": 3, "val": 1}), "train")
    assert dataset.name == "streets/train"
    assert len(dataset) == 3
    assert dataset.labels.names == ("sky", "road", "pole")
    sample = dataset[2]
    assert sample.name == "p2"
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), picture(2))
    np.testing.assert_array_equal(sample.mask.numpy(), ids(2, (0, 1, 2, 255)))


@pytest.mark.parametrize("masks", ["labels", "masks"])
def test_split_files(tmp_path: Path, masks: str) -> None:
    root = listed(tmp_path, {"train": ["b", "a"], "val": ["c"]}, masks)
    dataset = Folders(root, "train")
    # The order of the split file is kept.
    assert [dataset.sample_name(i) for i in range(2)] == ["b", "a"]
    assert len(Folders(root, "val")) == 1


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "bmp", "tif", "PNG"])
def test_picture_formats(tmp_path: Path, suffix: str) -> None:
    split_folders(tmp_path, {"train": 1})
    save(tmp_path / "train" / "images" / f"x.{suffix}", picture(7))
    save(tmp_path / "train" / "masks" / "x.png", ids(7, (0, 1, 2)))
    assert Folders(tmp_path, "train")[1].image.shape == (3, 12, 16)


def test_names_keep_their_subfolders(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1})
    for city in ("bonn", "ulm"):
        save(tmp_path / "train" / "images" / city / "0.png", picture(1))
        save(tmp_path / "train" / "masks" / city / "0.png", ids(1, (0, 1, 2)))
    names = {Folders(tmp_path, "train").sample_name(i) for i in range(3)}
    assert names == {"p0", "bonn/0", "ulm/0"}


def test_another_classes_file(tmp_path: Path) -> None:
    split_folders(tmp_path / "data", {"train": 1})
    (tmp_path / "c.json").write_text(json.dumps(["x", "y", "z"]))
    dataset = Folders(tmp_path / "data", "train", tmp_path / "c.json")
    assert dataset.labels.names == ("x", "y", "z")


def test_16_bit_masks_whose_ids_are_mapped(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1})
    wide = np.where(ids(0, (0, 1)) == 1, 7000, 26).astype(np.uint16)
    save(tmp_path / "train" / "masks" / "p0.png", wide)
    (tmp_path / "classes.json").write_text('{"names": ["a", "b"], "values": [26, 7000]}')
    (tmp_path / "classes.txt").unlink()
    assert torch.equal(Folders(tmp_path, "train").mask(0), torch.from_numpy(ids(0, (0, 1))))


def test_another_ignore_id(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1}, values=(0, 1, 9))
    (tmp_path / "classes.json").write_text('{"names": ["a", "b"], "ignore": 9}')
    assert Folders(tmp_path, "train").mask(0).unique().tolist() == [0, 1, 255]


# Masks of 0 and 255.


def test_binary_masks_are_recognized_and_explained(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3}, values=(0, 255))
    with pytest.raises(DataError, match=r'only 0 and 255: a binary mask.*"values": \[0, 255\]'):
        Folders(tmp_path, "train")


def test_the_advice_for_binary_masks_works(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1}, values=(0, 255))
    (tmp_path / "classes.json").write_text('{"names": ["no", "yes"], "values": [0, 255]}')
    truth = torch.from_numpy(ids(0, (0, 255)))
    assert torch.equal(Folders(tmp_path, "train").mask(0), (truth == 255).to(torch.uint8))


def test_an_explicit_ignore_of_255_is_believed(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1}, values=(0, 255))
    (tmp_path / "classes.json").write_text('{"names": ["no", "yes"], "ignore": 255}')
    assert Folders(tmp_path, "train").mask(0).unique().tolist() == [0, 255]


def test_binary_masks_are_explained_where_255_is_no_class(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1}, values=(0, 255))
    (tmp_path / "classes.json").write_text('{"names": ["no", "yes"], "ignore": 9}')
    with pytest.raises(DataError, match=r"p0\.png holds only 0 and 255: a binary mask"):
        Folders(tmp_path, "train")[0]


def test_one_mask_with_a_foreground_settles_that_255_is_unlabeled(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 3}, values=(0, 255))
    save(tmp_path / "train" / "masks" / "p2.png", ids(2, (0, 1, 255)))
    assert Folders(tmp_path, "train").mask(0).unique().tolist() == [0, 255]


# Bad input.


def test_a_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone does not exist.*Expected <root>/<split>/images"):
        Folders(tmp_path / "gone", "train")


def test_a_wrong_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has neither layout.*Expected <root>/<split>/images"):
        Folders(tmp_path, "train")


def test_an_unknown_split(tmp_path: Path) -> None:
    split_folders(tmp_path, {"training": 1, "val": 1})
    with pytest.raises(
        DataError, match=r"'train'. Did you mean 'training'\? There are: training, val"
    ):
        Folders(tmp_path, "train")


def test_a_folder_that_must_not_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lost+found of a disk, or another user's private folder."""
    split_folders(tmp_path, {"train": 1})
    (tmp_path / "lost+found").mkdir()
    look = os.stat

    def refuse(path: str | os.PathLike[str], **options: Any) -> os.stat_result:
        if "lost+found" in Path(path).parts[:-1]:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert len(Folders(tmp_path, "train")) == 1


def test_no_masks_folder(tmp_path: Path) -> None:
    save(tmp_path / "train" / "images" / "a.png", picture(0))
    with pytest.raises(DataError, match="neither masks/ nor labels/"):
        Folders(tmp_path, "train")


def test_an_empty_folder(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1})
    (tmp_path / "train" / "images" / "p0.png").unlink()
    with pytest.raises(DataError, match="images holds no pictures"):
        Folders(tmp_path, "train")


def test_an_image_without_a_mask(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 2})
    (tmp_path / "train" / "masks" / "p1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 names have no mask in .*masks; the first is 'p1'"):
        Folders(tmp_path, "train")


def test_a_mask_without_an_image(tmp_path: Path) -> None:
    """Half of the images are missing: training must not silently use fewer."""
    split_folders(tmp_path, {"train": 3})
    (tmp_path / "train" / "images" / "p1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 names have no image in .*images; the first is"):
        Folders(tmp_path, "train")


def test_masks_that_no_list_names_may_be_there(tmp_path: Path) -> None:
    listed(tmp_path, {"train": ["a"], "val": ["b"]})
    save(tmp_path / "labels" / "c.png", ids(0, (0, 1)))
    assert len(Folders(tmp_path, "train")) == 1


def test_linked_subfolders_are_followed_and_hidden_files_are_not(tmp_path: Path) -> None:
    train = split_folders(tmp_path / "data", {"train": 1}) / "train"
    for kind in ("images", "masks"):
        save(tmp_path / "disk" / kind / "far away.png", ids(0, (0, 1)))
        (train / kind / "city").symlink_to(tmp_path / "disk" / kind, target_is_directory=True)
        (train / kind / "._p0.png").touch()
    dataset = Folders(tmp_path / "data", "train")
    assert [dataset.sample_name(i) for i in range(len(dataset))] == ["city/far away", "p0"]
    assert dataset[0].mask.shape == (12, 16)


def test_a_listed_name_without_an_image(tmp_path: Path) -> None:
    listed(tmp_path, {"train": ["a", "b"]})
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=r"have no image in .*images; the first is 'b'"):
        Folders(tmp_path, "train")


def test_duplicate_stems(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1})
    save(tmp_path / "train" / "images" / "p0.jpg", picture(0))
    with pytest.raises(DataError, match="share the stem 'p0'"):
        Folders(tmp_path, "train")


def test_a_name_listed_twice(tmp_path: Path) -> None:
    listed(tmp_path, {"train": ["a", "a"]})
    with pytest.raises(DataError, match=r"train\.txt names a more than once"):
        Folders(tmp_path, "train")


def test_an_empty_split_file(tmp_path: Path) -> None:
    listed(tmp_path, {"train": ["a"]})
    (tmp_path / "splits" / "train.txt").write_text("\n")
    with pytest.raises(DataError, match=r"train\.txt is empty"):
        Folders(tmp_path, "train")


def test_no_classes_file(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1})
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"no classes file in .*Put a classes\.txt"):
        Folders(tmp_path, "train")


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1})
    save(tmp_path / "train" / "masks" / "p0.png", ids(0, (0, 1), (6, 8)))
    with pytest.raises(DataError, match=r"masks/p0\.png is 8x6 .*images/p0\.png is 16x12"):
        Folders(tmp_path, "train")[0]


def test_values_outside_the_classes(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1}, values=(0, 1, 2, 3, 40))
    with pytest.raises(
        DataError, match=r"p0\.png holds the values 3, 40, but there are 3 classes with ids 0\.\.2"
    ):
        Folders(tmp_path, "train")[0]


def test_a_color_mask(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1})
    save(tmp_path / "train" / "masks" / "p0.png", picture(3))
    with pytest.raises(DataError, match=r"p0\.png holds colors"):
        Folders(tmp_path, "train")[0]


@pytest.mark.parametrize(
    ("name", "train", "val", "classes"), [("crackforest", 71, 18, 2), ("magnetic_tile", 355, 89, 6)]
)
def test_the_real_data(
    shared_data: Callable[[str], Path], name: str, train: int, val: int, classes: int
) -> None:
    root = shared_data(name)
    assert (len(Folders(root, "train")), len(Folders(root, "val"))) == (train, val)
    dataset = Folders(root, "val")
    assert dataset.labels.num_classes == classes
    for i in range(len(dataset)):
        sample = dataset[i]
        assert sample.image.shape[1:] == sample.mask.shape


def test_files_that_are_no_pictures_are_said(tmp_path: Path) -> None:
    split_folders(tmp_path, {"train": 1})
    for name in ("a.gif", "b.gif", "notes.txt"):
        (tmp_path / "train" / "images" / name).touch()
    with pytest.warns(
        UserWarning, match=r"3 files in .*images passed over: a\.gif, b\.gif, notes\.txt; pictures"
    ):
        assert len(Folders(tmp_path, "train")) == 1


def write(tmp_path: Path, text: str, name: str = "classes.json") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_lines(tmp_path: Path) -> None:
    content = read_classes_file(write(tmp_path, "\ufeffsky\n road \n\n", "classes.txt"))
    assert content.labels.names == ("sky", "road")
    assert content.ids == {0: 0, 1: 1, 255: 255}
    assert not content.says_ignore


def test_a_list(tmp_path: Path) -> None:
    assert read_classes_file(write(tmp_path, '["a", "b"]')).labels.names == ("a", "b")


def test_everything(tmp_path: Path) -> None:
    text = '{"names": ["a", "b"], "colors": [[1,2,3],[4,5,6]], "ignore": 0, "values": [7, 9]}'
    content = read_classes_file(write(tmp_path, text))
    assert content.labels.colors == ((1, 2, 3), (4, 5, 6))
    assert content.ids == {0: 255, 7: 0, 9: 1}
    assert content.says_ignore


def test_a_class_may_have_the_id_255(tmp_path: Path) -> None:
    text = '{"names": ["a", "b"], "values": [0, 255]}'
    assert read_classes_file(write(tmp_path, text)).ids == {0: 0, 255: 1}


def test_default_colors_are_distinct() -> None:
    assert len(set(default_colors(40))) == 40


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[", "malformed"),
        ("3", "needs a list of names"),
        ('["a", 1]', "needs a list of names"),
        ('{"labels": ["a", "b"]}', "Unknown key 'labels'"),
        ('{"nmes": ["a", "b"]}', "Did you mean 'names'"),
        ('["a"]', "2 to 254 classes"),
        ('["a", "a"]', "repeated: a"),
        ('{"names": ["a", "b"], "colors": [[1, 2, 3]]}', "need 2 colors, got 1"),
        ('{"names": ["a", "b"], "colors": "red"}', r'"colors" must be a list'),
        ('{"names": ["a", "b"], "colors": [[1, 2, 3], [1, 2]]}', r'"colors" must be a list'),
        ('{"names": ["a", "b"], "colors": [[1, 2, 3], [1, 2, 300]]}', "'b' must be three values"),
        ('{"names": ["a", "b"], "ignore": 1}', '"ignore" must be one id .* not a class, got 1'),
        ('{"names": ["a", "b"], "ignore": -1}', '"ignore" must be one id'),
        ('{"names": ["a", "b"], "values": [3]}', '"values" must be 2 distinct ids'),
        ('{"names": ["a", "b"], "values": [3, 3]}', '"values" must be 2 distinct ids'),
        ('{"names": ["a", "b"], "values": [3, "4"]}', '"values" must be 2 distinct ids'),
    ],
)
def test_malformed(tmp_path: Path, text: str, match: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=match) as error:
        read_classes_file(path)
    assert str(path) in str(error.value)


def test_a_binary_file(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="cannot be read"):
        read_classes_file(tmp_path / "classes.txt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json cannot be read"):
        read_classes_file(tmp_path / "gone.json")


def test_a_blank_line_does_not_shift_the_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "sky\n\nroad\n", "classes.txt")
    with pytest.raises(DataError, match="line 2 is blank, and each line is the class of the next"):
        read_classes_file(path)


def test_a_single_class_lacks_its_background(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got 1: crack\. Add 'background' as the first class"):
        read_classes_file(write(tmp_path, '["crack"]'))
