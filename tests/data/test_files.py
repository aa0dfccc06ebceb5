from __future__ import annotations

from pathlib import Path

import pytest

from lossmaxpool.data import DataError
from lossmaxpool.data.files import Series, pair_up


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_stems_keep_their_subfolders_and_other_files_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / "a_x.png", tmp_path / "ulm" / "b_x.png", tmp_path / "c_y.png")
    touch(tmp_path / "._a_x.png")  # left by a Mac
    series = Series(tmp_path, "_x.png")
    assert series.stems() == {"a", "ulm/b"}
    assert all(series.file(stem).is_file() for stem in series.stems())


def test_linked_subfolders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "a.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "city").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert Series(tmp_path / "data", ".png").stems() == {"city/a"}


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    images, masks = Series(tmp_path / "images", ".jpg"), Series(tmp_path / "masks", ".png")
    touch(*(images.file(f"{i}") for i in range(2, 9)), *(masks.file(f"{i}") for i in range(4)))
    with pytest.raises(DataError) as error:
        pair_up("x/train", images, masks)
    message = str(error.value)
    assert message.startswith("x/train is incomplete: 2 of 9 images are missing: ")
    assert "5 of 9 masks are missing: " in message
    named = [str(masks.file(f"{i}")) in message for i in range(9)]
    assert named == [False] * 4 + [True] * 3 + [False] * 2
    assert "6.png, ...." in message


def test_nothing_at_all(tmp_path: Path) -> None:
    images, masks = Series(tmp_path / "images", ".jpg"), Series(tmp_path / "masks", ".png")
    with pytest.raises(DataError, match=r"x/train is empty: there is no '\*\.jpg' in .*images and"):
        pair_up("x/train", images, masks)
