"""Image and mask files to arrays and class ids, with errors that name the file.

A mask holds ids: a palette PNG is read as palette indices and never converted to colors.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lossmaxpool.data.sample import IGNORE_INDEX, DataError, LabelSet

ImageRange = tuple[float, float]
"""The values of black and white in pictures of 16 bits."""

_ORIENTATION = 0x0112  # EXIF orientation tag
_PNG = b"\x89PNG\r\n\x1a\n"
# Exceptions that Pillow raises for damaged or truncated files, depending on the format.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


class PictureFacts(NamedTuple):
    """Storage format of a picture: 16 bits per channel, rotation by an orientation tag."""

    wide: bool
    turned: bool


def read_image(path: Path, image_range: ImageRange | None = None) -> Tensor:
    """One picture as RGB, upright.

    Gray is expanded to three equal channels, transparency is dropped, 16-bit gray is scaled to
    8 bits, and the orientation tag is applied.
    """
    return read_picture(path, image_range)[0]


def read_picture(path: Path, image_range: ImageRange | None = None) -> tuple[Tensor, PictureFacts]:
    """One picture as returned by :func:`read_image`, and its storage format."""
    content = _read(path, "image")
    picture = _decode(content, path, "image")
    wide = _is_wide(content, picture)
    if wide and image_range is not None and not picture.mode.startswith("I"):
        raise DataError(
            f"The image {path} has colors of 16 bits, of which only the upper 8 can be read: an "
            "image_range cannot be applied. Save it as gray of 16 bits or with 8 bits per channel."
        )
    turned = picture.getexif().get(_ORIENTATION, 1) != 1
    image = image_tensor(picture, f"The image {path}", image_range)
    return image, PictureFacts(wide, turned)


def image_tensor(
    picture: Image.Image, subject: str, image_range: ImageRange | None = None
) -> Tensor:
    """Convert a Pillow picture like :func:`read_image`; rotated in place if it has a tag."""
    if picture.mode == "F":
        raise DataError(
            f"{subject} holds floats, of which it is not known what is black and what is white. "
            "Save it with 8 or 16 bits per channel."
        )
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith("I"):
        # Pillow would clip 16-bit gray at 255 instead of scaling.
        wide = np.asarray(picture, dtype=np.int64)
        if image_range is None:
            gray = np.clip(wide, 0, 65535) >> 8
        else:
            low, high = image_range
            gray = np.rint(255 * np.clip((wide - low) / (high - low), 0, 1))
        picture = Image.fromarray(gray.astype(np.uint8))
    if picture.mode != "RGB":  # convert() always copies
        picture = picture.convert("RGB")
    # Copying channel by channel takes half the time of copying all and permuting.
    return torch.from_numpy(np.stack([np.asarray(channel) for channel in picture.split()]))


def stored_with_16_bits(path: Path) -> bool:
    """Whether a picture has 16 bits per channel, without decoding it; False if it is damaged."""
    try:
        with path.open("rb") as file:
            start = file.read(26)
        with Image.open(path) as picture:
            return _is_wide(start, picture)
    except _DAMAGE:
        return False


def read_ids(path: Path) -> NDArray[np.integer]:
    """The ids of a mask file, unchanged.

    Args:
        path: a single-channel or palette picture of at most 16 bits, or a .mat file of SBD.

    Returns:
        (H, W), in the file's integer type.

    Raises:
        DataError: the file is missing or damaged, or holds colors instead of ids.
    """
    content = _read(path, "mask")
    if path.suffix == ".mat":
        return _sbd_ids(content, f"The mask {path}")
    ids = picture_ids(_decode(content, path, "mask"), f"The mask {path}")
    # Pillow scales the values of 2-bit and 4-bit gray PNGs to 8 bits: undo it.
    depth, color = content[24:26] if content.startswith(_PNG) else (8, 0)
    return ids // (255 // (2**depth - 1)) if color == 0 and depth in (2, 4) else ids


def picture_ids(picture: Image.Image, subject: str) -> NDArray[np.integer]:
    """The ids of a mask picture of Pillow, (H, W); see :func:`read_ids`."""
    if picture.mode not in {"1", "L", "P", "I", "I;16", "I;16B", "I;16L"}:
        raise DataError(
            f"{subject} holds colors (mode {picture.mode}), but a mask must hold one class id per "
            "pixel. Save it as a single-channel or palette PNG of ids."
        )
    ids = np.asarray(picture)
    return ids.astype(np.uint8) if picture.mode == "1" else ids


def mask_header(path: Path) -> tuple[int, bytes | None]:
    """The number of pixels of a mask and its palette (red, green, blue of each id), undecoded."""
    with Image.open(path) as picture:
        width, height = picture.size
        if picture.mode != "P" or picture.palette is None:
            return width * height, None
        if picture.palette.rawmode == "RGB":
            return width * height, bytes(picture.palette.palette)
        return width * height, bytes(picture.getpalette() or ())


def palette_color(index: int) -> tuple[int, int, int]:
    """Pascal VOC's color of one id; distinct for ids 0 to 255.

    Example:
        >>> palette_color(1), palette_color(15)
        ((128, 0, 0), (192, 128, 128))
    """
    channels = [0, 0, 0]
    for bit in range(8):
        # Bits 0, 3, 6 go to red, from its highest bit down; 1, 4, 7 to green; 2, 5 to blue.
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]


class IdMap:
    """The mapping from the ids in a data set's masks to classes.

    Args:
        ids: file id -> class id, or ``IGNORE_INDEX``; any other id in a mask is an error.
    """

    # Not a valid class id: a label set has at most 254 classes.
    _UNKNOWN = IGNORE_INDEX - 1

    def __init__(self, labels: LabelSet, ids: Mapping[int, int]) -> None:
        self.labels = labels
        self.ids = dict(ids)
        # A lookup table maps a whole mask in one operation. Its first entry is for the smallest id,
        # which may be negative; its last entry is for unknown ids.
        self._first = min(0, *self.ids)
        size = max(256, max(self.ids) + 2) - self._first
        self._table = np.full(size, self._UNKNOWN, dtype=np.uint8)
        for file_id, class_id in self.ids.items():
            self._table[file_id - self._first] = class_id

    def __call__(self, ids: NDArray[np.integer], subject: str) -> Tensor:
        """Map the ids of one mask to class ids.

        Args:
            ids: (H, W) ids of the file.

        Returns:
            (H, W) uint8.

        Raises:
            DataError: the mask holds unknown ids, which are named.
        """
        if ids.dtype == np.uint8:
            # Several times as fast as indexing the table; most masks are uint8.
            table = self._table[-self._first :][:256].tobytes()
            content = bytearray(np.ascontiguousarray(ids)).translate(table)
            mapped = np.frombuffer(content, dtype=np.uint8).reshape(ids.shape)
        else:
            last = len(self._table) - 1
            place = ids.astype(np.int64) - self._first
            mapped = self._table[np.where((place >= 0) & (place < last), place, last)]
        if (mapped == self._UNKNOWN).any():
            unknown = np.unique(ids[mapped == self._UNKNOWN]).tolist()
            raise DataError(f"{subject} holds {self._explain(unknown)}")
        return torch.from_numpy(mapped)

    def _explain(self, unknown: list[int]) -> str:
        shown = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        known = sorted(i for i, c in self.ids.items() if c != IGNORE_INDEX)
        ignored = sorted(i for i, c in self.ids.items() if c == IGNORE_INDEX)
        expected = f"{self.labels.num_classes} classes with ids {known[0]}..{known[-1]}"
        if ignored:
            expected += f" and {', '.join(map(str, ignored))} for unlabeled pixels"
        return f"the values {shown}, but there are {expected}."


def _read(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"The {kind} {path} does not exist.") from None
    except OSError as error:
        raise DataError(f"The {kind} {path} cannot be opened: {error}.") from error


def _decode(content: bytes, path: Path, kind: str) -> Image.Image:
    try:
        # Read into memory first: Pillow would keep a damaged file open.
        picture = Image.open(BytesIO(content))
        picture.load()
    except UnidentifiedImageError:
        raise DataError(
            f"The {kind} {path} is not a picture file that can be read, whatever its name says."
        ) from None
    except Image.DecompressionBombError as error:
        raise DataError(f"The {kind} {path} is too large to decode: {error}") from None
    except _DAMAGE as error:
        raise DataError(f"The {kind} {path} is damaged or truncated: {error}.") from error
    return picture


def _is_wide(content: bytes, picture: Image.Image) -> bool:
    return picture.mode.startswith("I") or (content.startswith(_PNG) and content[24] == 16)


def _sbd_ids(content: bytes, subject: str) -> NDArray[np.uint8]:
    """The category ids 0..20 of a MATLAB file of SBD's ``cls`` folder: ``GTcls.Segmentation``."""
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(
            f"{subject} is a MATLAB file, which SciPy reads: pip install scipy. Or put the "
            "masks as PNG files into SegmentationClassAug and leave the SBD folder out."
        ) from error
    try:
        variables = loadmat(BytesIO(content), variable_names=["GTcls"])
    except Exception as error:
        # SciPy raises many kinds of exceptions for damaged files.
        raise DataError(f"{subject} is damaged or no MATLAB file: {error}.") from error
    try:
        ids = np.asarray(variables["GTcls"]["Segmentation"][0, 0])
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{subject} has no GTcls.Segmentation: it is not from SBD's folder 'cls'."
        ) from error
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise DataError(
            f"{subject} has a GTcls.Segmentation of {ids.dtype} and shape {ids.shape}, but it must "
            "be one byte per pixel, height x width."
        )
    return ids
