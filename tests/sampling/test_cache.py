"""The cache of a class index: never out of date, and clear where it cannot be written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lossmaxpool.sampling import (
    CacheError,
    ClassIndex,
    cache_folders,
    class_index,
    file_fingerprint,
)
from tests.sampling.scenes import CLASSES, masks

IDS = {c: c for c in range(CLASSES)} | {255: 255}


class Files:
    """Mask files, and the numbers of those that were decoded since the last look."""

    def __init__(self, folder: Path, ids: Mapping[int, int] = IDS) -> None:
        self.paths = [folder / f"{i}.png" for i in range(6)]
        self.ids = ids
        self.cache = folder / "cache"
        self.decoded: list[int] = []

    def mask(self, number: int) -> torch.Tensor:
        self.decoded.append(number)
        raw = np.array(Image.open(self.paths[number]))
        return torch.from_numpy(np.vectorize(self.ids.__getitem__)(raw))

    def index(self, cache: Path | Sequence[Path] | None = None) -> tuple[ClassIndex, list[int]]:
        self.decoded = []
        index = ClassIndex.build(
            self.mask,
            len(self.paths),
            CLASSES,
            fingerprint=lambda i: file_fingerprint(self.paths[i], self.ids),
            cache=self.cache if cache is None else cache,
        )
        return index, self.decoded


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    for path, mask in zip(made.paths, masks(6), strict=True):
        # Uncompressed: a changed pixel then leaves the size of the file as it is.
        Image.fromarray(mask.numpy()).save(path, compress_level=0)
    return made


def edit(path: Path, change: Callable[[np.ndarray], None]) -> None:
    """Changes a mask and leaves the size and the times of its file as they were."""
    before = path.stat()
    pixels = np.array(Image.open(path))
    change(pixels)
    Image.fromarray(pixels).save(path, compress_level=0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_the_second_time_nothing_is_decoded(files: Files) -> None:
    first, decoded = files.index()
    assert decoded == list(range(6))
    second, decoded = files.index()
    assert decoded == []
    assert torch.equal(first.counts, second.counts)


def test_one_changed_pixel_is_noticed_where_size_and_time_are_not(files: Files) -> None:
    first, _ = files.index()

    def change(pixels: np.ndarray) -> None:
        pixels[12, 3] = 3

    was = int(np.array(Image.open(files.paths[4]))[12, 3])
    edit(files.paths[4], change)
    second, decoded = files.index()
    assert decoded == [4], "only the mask that was changed is counted again"
    expected = first.counts.clone()
    expected[4, was] -= 1
    expected[4, 3] += 1
    assert was != 3
    assert torch.equal(second.counts, expected)


def test_a_mask_that_changes_while_it_is_counted(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = files.mask

    def meanwhile(number: int) -> torch.Tensor:
        if number == 5:
            files.paths[2].write_bytes(files.paths[3].read_bytes())
        return count(number)

    monkeypatch.setattr(files, "mask", meanwhile)
    with pytest.raises(ValueError, match="masks of 1 images, image 2 first, changed while"):
        files.index()
    assert list(files.cache.iterdir()) == [], "nothing wrong is kept"


def test_two_masks_that_change_places_are_noticed(files: Files) -> None:
    first, _ = files.index()
    a, b = files.paths[0].read_bytes(), files.paths[1].read_bytes()
    files.paths[0].write_bytes(b)
    files.paths[1].write_bytes(a)
    second, decoded = files.index()
    assert decoded == []  # both are known, under their content
    assert torch.equal(second.counts, first.counts[[1, 0, 2, 3, 4, 5]])


def test_another_meaning_of_the_ids_is_noticed(files: Files) -> None:
    first, _ = files.index()
    files.ids = IDS | {2: 3, 3: 2}
    second, decoded = files.index()
    assert decoded == list(range(6))
    assert torch.equal(second.counts, first.counts[:, [0, 1, 3, 2]])


def test_splits_share_the_cache(files: Files) -> None:
    files.index()
    every = files.paths
    files.paths = every[4:1:-1]
    assert files.index()[1] == []
    files.paths = every
    assert files.index()[1] == [], "a part has not replaced the whole"


def test_other_classes_do_not_meet(files: Files) -> None:
    files.index()
    wider = ClassIndex.build(
        files.mask,
        6,
        CLASSES + 1,
        fingerprint=lambda i: file_fingerprint(files.paths[i], IDS),
        cache=files.cache,
    )
    assert wider.counts.shape == (6, CLASSES + 1)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_file_is_replaced(files: Files, damage: str) -> None:
    first, _ = files.index()
    (path,) = files.cache.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"flipped": content, "cut": content[:-5], "empty": b""}[damage])
    with pytest.warns(UserWarning, match="is damaged: the masks are counted again"):
        second, decoded = files.index()
    assert decoded == list(range(6))
    assert torch.equal(first.counts, second.counts)
    assert files.index()[1] == []


def test_no_partial_file_is_left(files: Files) -> None:
    files.index()
    assert [path.suffix for path in files.cache.iterdir()] == [".bin"]


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(files: Files) -> None:
    blocked = files.paths[0] / "cache"  # below a file
    with pytest.raises(CacheError, match=r"cannot be (read|kept).*"):
        files.index(blocked)
    assert files.decoded == []


def test_the_refusal_says_what_to_do(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    read_only = OSError("Read-only file system")
    monkeypatch.setattr(class_index, "why_not_writable", lambda folder: read_only)
    with pytest.raises(
        CacheError, match=r"Read-only.*6 masks have to be counted\. Give a cache folder that can"
    ):
        files.index()
    assert files.decoded == []


def test_a_complete_cache_may_be_read_only(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = files.index()
    monkeypatch.setattr(class_index, "why_not_writable", lambda folder: OSError("read-only"))
    second, decoded = files.index()
    assert decoded == []
    assert torch.equal(first.counts, second.counts)


def test_a_disk_that_fills_up_leaves_the_earlier_file(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.index()
    edit(files.paths[0], lambda pixels: pixels.fill(1))
    (path,) = files.cache.iterdir()
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match=r"could not be written to .*No space left"):
        files.index()
    assert list(files.cache.iterdir()) == [path]
    assert path.read_bytes() == before


def read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as a user who can write everywhere, regardless of permissions."""
    look = class_index.why_not_writable
    refusal = OSError("Read-only file system")
    monkeypatch.setattr(
        class_index, "why_not_writable", lambda asked: refusal if asked == folder else look(asked)
    )


def test_what_lies_beside_read_only_data_is_found(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, home = files.cache, files.cache.with_name("home")
    first, _ = files.index(beside)
    read_only(beside, monkeypatch)
    second, decoded = files.index([beside, home])
    assert decoded == []
    assert torch.equal(first.counts, second.counts)
    assert not home.exists(), "nothing was new"


def test_what_is_new_goes_to_the_first_folder_that_can_be_written(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, home = files.cache, files.cache.with_name("home")
    files.index(beside)
    read_only(beside, monkeypatch)
    edit(files.paths[3], lambda pixels: pixels.fill(1))
    assert files.index([beside, home])[1] == [3]
    assert files.index([beside, home])[1] == []
    assert files.index(home)[1] == [], "the next run finds all of it in one place"


def test_no_folder_that_can_be_written(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    read_only(files.cache, monkeypatch)
    with pytest.raises(CacheError, match=r"cache \(Read-only.*below \(.*6 masks have to be"):
        files.index([files.cache, files.paths[0] / "below"])
    with pytest.raises(CacheError, match=r"cannot be kept in any folder"):
        files.index([])
    assert files.decoded == []


def test_a_file_that_cannot_be_read_is_replaced(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.index()
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.suffix == ".bin":
            raise PermissionError(13, "Permission denied")
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        with pytest.warns(UserWarning, match=r"\.bin cannot be read: .*Permission denied"):
            assert files.index()[1] == list(range(6))
    assert files.index()[1] == []


def test_beside_the_data_then_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    home = tmp_path / "home" / "lossmaxpool"
    assert cache_folders(beside=tmp_path / "data") == [tmp_path / "data" / ".lossmaxpool", home]
    assert cache_folders() == [home]
    assert not list(tmp_path.iterdir())


def test_nobodys_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(class_index.Path, "home", nobody)
    assert cache_folders() == []


def test_a_missing_mask_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        file_fingerprint(tmp_path / "absent.png")
