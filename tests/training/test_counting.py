"""Masks are counted once, and counted again as soon as they change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lossmaxpool.data import DataConfig, DataError, Folders, StreetScenes, class_statistics
from lossmaxpool.data.files import FileDataset
from lossmaxpool.sampling import class_index
from lossmaxpool.training import train
from lossmaxpool.training.loading import CachedDataset, count_pixels
from tests.training.runs import tiny


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    root = tmp_path / "mine"
    for kind in ("images", "masks"):
        (root / "train" / kind).mkdir(parents=True)
    for k in range(3):
        Image.new("RGB", (8, 6)).save(root / "train" / "images" / f"{k}.png")
        ids = np.full((6, 8), k, dtype=np.uint8)
        Image.fromarray(ids).save(root / "train" / "masks" / f"{k}.png")
    (root / "classes.json").write_text(json.dumps({"names": ["a", "b", "c"]}))
    return Folders(root, "train")


class Decoded:
    """Counts how often a mask is decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        original = FileDataset.mask

        def mask(dataset: FileDataset, index: int) -> torch.Tensor:
            self.count += 1
            return original(dataset, index)

        monkeypatch.setattr(FileDataset, "mask", mask)


def test_masks_are_decoded_once(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = folders.pairs[0].mask.parents[2]
    decoded = Decoded(monkeypatch)
    first = count_pixels(folders, beside=beside)
    assert decoded.count == 3
    assert torch.equal(count_pixels(folders, beside=beside), first)
    assert decoded.count == 3
    assert first.tolist() == [[48, 0, 0], [0, 48, 0], [0, 0, 48]]
    # A changed mask alone is counted again.
    changed = np.full((6, 8), 2, dtype=np.uint8)
    changed[0] = 1
    Image.fromarray(changed).save(folders.pairs[2].mask)
    assert count_pixels(folders, beside=beside).tolist()[2] == [0, 8, 40]
    assert decoded.count == 4


def test_a_complete_cache_in_a_read_only_data_folder_is_used(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beside = folders.pairs[0].mask.parents[2]
    first = count_pixels(folders, beside=beside)
    read_only = OSError("Read-only file system")
    monkeypatch.setattr(
        class_index,
        "why_not_writable",
        lambda folder: read_only if folder.is_relative_to(beside) else None,
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    decoded = Decoded(monkeypatch)
    assert torch.equal(count_pixels(folders, beside=beside), first)
    assert decoded.count == 0
    assert not (tmp_path / "home").exists()


def test_where_nothing_can_be_written_masks_are_counted_every_time(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(class_index, "why_not_writable", lambda folder: OSError("read-only"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"mine/train are counted in every run.*read-only"):
            assert count_pixels(folders, beside=tmp_path / "mine").sum() == 3 * 48


def test_a_data_set_without_files_is_counted_every_time(tmp_path: Path) -> None:
    scenes = StreetScenes(num_images=3, size=(32, 48))
    assert torch.equal(count_pixels(scenes, beside=tmp_path), class_statistics(scenes).pixels)
    assert not list(tmp_path.iterdir())


def test_counting_fills_the_memory_before_workers_are_forked(folders: Folders) -> None:
    beside = folders.pairs[0].mask.parents[2]
    count_pixels(folders, beside=beside)
    kept = CachedDataset(folders)
    count_pixels(kept, beside=beside, workers=2)
    for pair in folders.pairs:
        pair.image.unlink()
    assert [kept[k].name for k in range(3)] == ["0", "1", "2"]


@pytest.mark.parametrize("cache", [False, True])
def test_a_run_does_not_begin_on_masks_that_were_saved_in_two_ways(
    tmp_path: Path, cache: bool
) -> None:
    root = tmp_path / "mine"
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for k, foreground in enumerate((1, 255)):
            Image.new("RGB", (8, 6), (k, 0, 0)).save(root / split / "images" / f"{k}.png")
            ids = np.array([[0, foreground] * 4] * 6, dtype=np.uint8)
            Image.fromarray(ids).save(root / split / "masks" / f"{k}.png")
    (root / "classes.txt").write_text("background\ncrack\n")
    config = replace(tiny("base", cache=cache), data=DataConfig("folders", root))
    with pytest.raises(DataError, match=r"saved in two ways.*train/1\)"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
