"""Image and mask files to arrays, with errors that name the file.

A mask holds ids: a palette PNG is read as its indices and is never converted to colours.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lossmaxpool.data.errors import DataError
from lossmaxpool.data.sbd import sbd_ids

_ORIENTATION = 0x0112  # the tag of a camera's orientation
_PNG = b"\x89PNG\r\n\x1a\n"
# What Pillow raises for a damaged or truncated file depends on the format.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def _read(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"The {kind} {path} does not exist.") from None
    except OSError as error:
        raise DataError(f"The {kind} {path} cannot be opened: {error}.") from error


def _decode(content: bytes, path: Path, kind: str) -> Image.Image:
    try:
        # From memory: Pillow keeps the file of a damaged picture open.
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


ImageRange = tuple[float, float]
"""The values of black and white in pictures of 16 bits."""


class PictureFacts(NamedTuple):
    """How a picture is stored: whether with 16 bits per channel, and whether a tag turns it."""

    wide: bool
    turned: bool


def read_image(path: Path, image_range: ImageRange | None = None) -> Tensor:
    """One picture as RGB, upright.

    Grey pictures become three equal channels, transparency is dropped, 16-bit grey is scaled to
    8 bits, and a camera's orientation tag is applied.

    Args:
        path: a file that Pillow can read.
        image_range: the values of black and white in pictures of 16 bits; None for 0 and 65535.

    Returns:
        (3, H, W) uint8.

    Raises:
        DataError: naming the file, if it is missing, damaged or truncated, or holds floats.
    """
    return read_picture(path, image_range)[0]


def read_picture(path: Path, image_range: ImageRange | None = None) -> tuple[Tensor, PictureFacts]:
    """One picture as :func:`read_image` gives it, and how it is stored."""
    content = _read(path, "image")
    picture = _decode(content, path, "image")
    wide = _is_wide(content, picture)
    if wide and image_range is not None and not picture.mode.startswith("I"):
        raise DataError(
            f"The image {path} has colors of 16 bits, of which only the upper 8 can be read: an "
            "image_range cannot be applied. Save it as grey of 16 bits or with 8 bits per channel."
        )
    turned = picture.getexif().get(_ORIENTATION, 1) != 1
    image = image_tensor(picture, f"The image {path}", image_range)
    return image, PictureFacts(wide, turned)


def stored_with_16_bits(path: Path) -> bool:
    """Whether a picture has 16 bits per channel, without decoding it; False if it is damaged."""
    try:
        with path.open("rb") as file:
            start = file.read(26)
        with Image.open(path) as picture:
            return _is_wide(start, picture)
    except _DAMAGE:
        return False


def _is_wide(content: bytes, picture: Image.Image) -> bool:
    return picture.mode.startswith("I") or (content.startswith(_PNG) and content[24] == 16)


def mask_header(path: Path) -> tuple[int, bytes | None]:
    """The number of pixels of a mask and its palette (red, green, blue of each id), undecoded."""
    with Image.open(path) as picture:
        width, height = picture.size
        if picture.mode != "P" or picture.palette is None:
            return width * height, None
        if picture.palette.rawmode == "RGB":
            return width * height, bytes(picture.palette.palette)
        return width * height, bytes(picture.getpalette() or ())


def image_tensor(
    picture: Image.Image, subject: str, image_range: ImageRange | None = None
) -> Tensor:
    """A picture as RGB, upright; see :func:`read_image`.

    Args:
        picture: of any mode but floats; turned in place where a tag says so.
        subject: the picture, for the message.
        image_range: the values of black and white, of 16 bits.

    Returns:
        (3, H, W) uint8.

    Raises:
        DataError: it holds floats, whose range is not known.
    """
    if picture.mode == "F":
        raise DataError(
            f"{subject} holds floats, of which it is not known what is black and what is white. "
            "Save it with 8 or 16 bits per channel."
        )
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith("I"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        wide = np.asarray(picture, dtype=np.int64)
        if image_range is None:
            grey = np.clip(wide, 0, 65535) >> 8
        else:
            low, high = image_range
            grey = np.rint(255 * np.clip((wide - low) / (high - low), 0, 1))
        picture = Image.fromarray(grey.astype(np.uint8))
    if picture.mode != "RGB":  # converting copies in any case
        picture = picture.convert("RGB")
    # Channel by channel takes half as long as all of them and then a permutation.
    return torch.from_numpy(np.stack([np.asarray(channel) for channel in picture.split()]))


def read_ids(path: Path) -> NDArray[np.integer]:
    """The ids of a mask file as they stand there.

    Args:
        path: a single-channel or palette picture of at most 16 bits, or a .mat file of SBD.

    Returns:
        (H, W), in the integers of the file: bytes stay bytes, which is quick.

    Raises:
        DataError: naming the file, if it is missing or damaged, or holds colours instead of ids.
    """
    content = _read(path, "mask")
    if path.suffix == ".mat":
        return sbd_ids(content, f"The mask {path}")
    ids = picture_ids(_decode(content, path, "mask"), f"The mask {path}")
    step = _grey_step(content)
    return ids if step == 1 else ids // step


def _grey_step(content: bytes) -> int:
    """By how much Pillow multiplies the values of a grey PNG, to spread 2 or 4 bits over 8."""
    depth, color = content[24:26] if content.startswith(_PNG) else (8, 0)
    return 255 // (2**depth - 1) if color == 0 and depth in (2, 4) else 1


def picture_ids(picture: Image.Image, subject: str) -> NDArray[np.integer]:
    """The ids of a mask picture; see :func:`read_ids`.

    Args:
        picture: of one channel or with a palette.
        subject: the mask, for the message.

    Returns:
        (H, W) integers.

    Raises:
        DataError: it holds colours instead of ids.
    """
    if picture.mode not in {"1", "L", "P", "I", "I;16", "I;16B", "I;16L"}:
        raise DataError(
            f"{subject} holds colours (mode {picture.mode}), but a mask must hold one class id per "
            "pixel. Save it as a single-channel or palette PNG of ids."
        )
    ids = np.asarray(picture)
    return ids.astype(np.uint8) if picture.mode == "1" else ids
