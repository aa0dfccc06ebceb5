"""Image and mask files to arrays, with errors that name the file.

A mask holds ids: a palette PNG is read as its indices and is never converted to colours.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lossmaxpool.data.errors import DataError
from lossmaxpool.data.sbd import sbd_ids

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


def read_image(path: Path) -> Tensor:
    """One picture as RGB, upright.

    Grey pictures become three equal channels, transparency is dropped, 16-bit grey is scaled to
    8 bits, and a camera's orientation tag is applied.

    Args:
        path: a file that Pillow can read.

    Returns:
        (3, H, W) uint8.

    Raises:
        DataError: naming the file, if it is missing, damaged or truncated, or holds floats.
    """
    return image_tensor(_decode(_read(path, "image"), path, "image"), f"The image {path}")


def image_tensor(picture: Image.Image, subject: str) -> Tensor:
    """A picture as RGB, upright; see :func:`read_image`.

    Args:
        picture: of any mode but floats; turned in place where a tag says so.
        subject: the picture, for the message.

    Returns:
        (3, H, W) uint8.

    Raises:
        DataError: it holds floats, whose range nobody knows.
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
        picture = Image.fromarray((np.clip(wide, 0, 65535) >> 8).astype(np.uint8))
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
