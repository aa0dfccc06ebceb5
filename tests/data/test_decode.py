from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lossmaxpool.data import IGNORE_INDEX, DataError, LabelSet
from lossmaxpool.data.decode import IdMap, palette_color, read_ids, read_image
from lossmaxpool.data.folders import default_colors
from tests.data.trees import ids, picture, save


def test_an_image_is_read_as_rgb_planes(tmp_path: Path) -> None:
    pixels = picture(0)
    image = read_image(save(tmp_path / "a.png", pixels))
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels)


def test_a_gray_image_has_three_equal_channels(tmp_path: Path) -> None:
    gray = picture(1)[..., 0]
    image = read_image(save(tmp_path / "a.png", gray))
    for channel in image:
        np.testing.assert_array_equal(channel.numpy(), gray)


def test_a_16_bit_gray_image_is_scaled_not_clipped(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[0, 256, 32768, 65535]], dtype=np.uint16))
    assert read_image(tmp_path / "a.png")[0].tolist() == [[0, 1, 128, 255]]


def test_an_image_of_floats_is_refused(tmp_path: Path) -> None:
    """Pillow would convert 0..1 to black."""
    save(tmp_path / "a.tif", np.array([[0, 0.5, 1]], dtype=np.float32))
    with pytest.raises(DataError, match=r"a\.tif holds floats.*Save it with 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


def test_transparency_is_dropped(tmp_path: Path) -> None:
    pixels = np.dstack([picture(2), np.full(picture(2).shape[:2], 128, dtype=np.uint8)])
    assert read_image(save(tmp_path / "a.png", pixels)).shape == (3, 12, 16)


def test_the_orientation_tag_is_applied(tmp_path: Path) -> None:
    upright = picture(3, (8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").permute(1, 2, 0).numpy(), upright)


def save_turned(path: Path, turned: np.ndarray, where: str) -> None:
    """Writes pixels with a tag that says how to turn them."""
    tag = Image.Exif()
    tag[0x0112] = 6
    if where == "exif":
        Image.fromarray(turned).save(path, exif=tag, quality=95)
        return
    Image.fromarray(turned).save(path)
    if where == "exif behind the pixels":
        content = path.read_bytes()
        body = b"eXIf" + tag.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        path.write_bytes(content[:-12] + chunk + content[-12:])


@pytest.mark.parametrize(
    ("suffix", "where"), [("jpg", "exif"), ("png", "exif"), ("png", "exif behind the pixels")]
)
def test_every_orientation_tag_is_seen(tmp_path: Path, suffix: str, where: str) -> None:
    path = tmp_path / f"a.{suffix}"
    save_turned(path, picture(3, (8, 16)), where)
    assert read_image(path).shape == (3, 16, 8)


def test_a_palette_mask_is_read_as_its_indices(tmp_path: Path) -> None:
    indices = ids(0, (0, 3, 7))
    mask = Image.fromarray(indices, mode=None).convert("P")
    mask = Image.frombytes("P", (16, 12), indices.tobytes())
    mask.putpalette([channel for i in range(256) for channel in (255 - i, i, 7)])
    mask.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_ids(tmp_path / "a.png"), indices)


def test_a_16_bit_mask_keeps_its_ids(tmp_path: Path) -> None:
    wide = np.array([[0, 300], [65535, 7]], dtype=np.uint16)
    np.testing.assert_array_equal(read_ids(save(tmp_path / "a.png", wide)), wide)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_gray_mask_of_few_bits_keeps_its_ids(bits: int, tmp_path: Path) -> None:
    ids = list(range(2**bits))
    packed = sum(value << (bits * (len(ids) - 1 - x)) for x, value in enumerate(ids))
    row = (packed << (-bits * len(ids) % 8)).to_bytes((bits * len(ids) + 7) // 8, "big")
    header = struct.pack(">IIBBBBB", len(ids), 1, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b""))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )
    assert read_ids(tmp_path / "a.png").tolist() == [ids]


def test_a_bilevel_mask_is_read_as_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_ids(tmp_path / "a.png").tolist() == [[1, 0]]


@pytest.mark.parametrize("read", [read_image, read_ids])
def test_a_missing_file_is_named(tmp_path: Path, read: object) -> None:
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        read(tmp_path / "gone.png")  # type: ignore[operator]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"half.{suffix}", picture(4, (64, 64)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"half\.{suffix}.*(damaged|can be read)"):
        read_image(path)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"page\.png is not a picture"):
        read_image(tmp_path / "page.png")


def test_a_color_mask_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "colors.png", picture(5))
    with pytest.raises(DataError, match=r"colors\.png holds colors \(mode RGB\).*class id"):
        read_ids(path)


LABELS = LabelSet(("a", "b", "c"), default_colors(3))


def fits(value: int, dtype: type[np.integer]) -> bool:
    return bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)


@given(
    ids=st.lists(st.integers(-300, 70_000), min_size=4, max_size=4, unique=True),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]),
)
def test_it_is_the_dictionary(ids: list[int], dtype: type[np.integer]) -> None:
    mapping = dict(zip(ids, (0, 1, 2, IGNORE_INDEX), strict=True))
    mask = np.array([i for i in ids if fits(i, dtype)], dtype=dtype).reshape(1, -1)
    expected = [[mapping[i] for i in mask[0].tolist()]]
    assert IdMap(LABELS, mapping)(mask, "It").tolist() == expected


@given(
    value=st.integers(-(2**40), 2**40) | st.integers(-5, 310),
    ignored=st.sampled_from([255, -1, -3]),
)
def test_every_other_value_is_refused(value: int, ignored: int) -> None:
    mapping = {0: 0, 300: 1, 9: 2, ignored: IGNORE_INDEX}
    mask = np.array([[0, value]])
    if value in mapping:
        assert IdMap(LABELS, mapping)(mask, "It").tolist() == [[0, mapping[value]]]
    else:
        with pytest.raises(DataError, match=f"It holds the values {value}, but there are 3 cl"):
            IdMap(LABELS, mapping)(mask, "It")


def test_an_id_below_zero_is_no_byte() -> None:
    """-1 means "unlabeled" in many libraries; as an index it would select the last entry."""
    mapping = {-1: IGNORE_INDEX, 0: 0, 1: 1, 2: 2}
    signed = np.array([[0, -1, 2]], dtype=np.int16)
    assert IdMap(LABELS, mapping)(signed, "It").tolist() == [[0, IGNORE_INDEX, 2]]
    with pytest.raises(DataError, match="It holds the values 255, but"):
        IdMap(LABELS, mapping)(np.array([[0, 255]], dtype=np.uint8), "It")
    with pytest.raises(DataError, match="It holds the values -2, 255, 256, but"):
        IdMap(LABELS, mapping)(np.array([[-2, 255, 256]]), "It")


def test_every_byte() -> None:
    mapping = {i: i % 3 for i in range(255)} | {255: IGNORE_INDEX}
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = torch.tensor([mapping[i] for i in range(256)]).view(16, 16)
    mapped = IdMap(LABELS, mapping)(mask, "It")
    assert mapped.dtype == torch.uint8
    assert torch.equal(mapped.long(), expected)


def test_colors_are_distinct() -> None:
    assert len({palette_color(i) for i in range(256)}) == 256


def test_void_is_the_cream_of_the_development_kit() -> None:
    assert palette_color(255) == (224, 224, 192)
