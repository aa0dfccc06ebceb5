"""Pixel counts that are kept between runs, each under the fingerprint of its mask."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from lossmaxpool._version import __version__
from lossmaxpool.atomic import write_atomically

_DIGEST_SIZE = 16


class CacheError(OSError):
    """A cache folder that cannot be used as it is asked for."""


class CountCache:
    """One file of counts, found by content and never out of date.

    There is one row for each mask that was ever counted, under the mask's fingerprint: a changed
    mask has no row, and a data set that is split or ordered in another way finds all of its own.
    Classes, ignored value and version of the package are in the file's name. The file begins
    with a hash of the rest, so that a damaged one is noticed, and is replaced as a whole.

    Args:
        folder: Where the file lies.
        num_classes: C.
        ignore_index: Value of the pixels that belong to no class.
    """

    def __init__(self, folder: Path, num_classes: int, ignore_index: int) -> None:
        meaning = f"{__version__} {num_classes} {ignore_index}".encode()
        self.num_classes = num_classes
        self.folder = folder
        self.path = folder / f"class-counts-{blake2b(meaning, digest_size=6).hexdigest()}.bin"

    def read(self) -> dict[bytes, Tensor]:
        """The (C,) counts by fingerprint; none where there is no file, or a damaged one.

        Warns of a damaged file.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CacheError(f"the class index in {self.path} cannot be read: {error}") from error
        digest, body = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        if blake2b(body, digest_size=_DIGEST_SIZE).digest() != digest:
            warnings.warn(
                f"the class index in {self.path} is damaged: the masks are counted again",
                stacklevel=3,
            )
            return {}
        return _unpack(body, self.num_classes)

    def check_writable(self, num_missing: int) -> None:
        """Refuses a folder that cannot be written, before any work is done for it.

        Args:
            num_missing: Masks to count, for the message.

        Raises:
            CacheError: The folder cannot be made or written.
        """
        problem = why_not_writable(self.folder)
        if problem is not None:
            raise CacheError(
                f"the class index cannot be kept in {self.folder}: {problem}; {num_missing} masks "
                "have to be counted. Give a cache folder that can be written, or none to count the "
                "masks in every run"
            ) from problem

    def write(self, counts: Mapping[bytes, Tensor]) -> None:
        """Replaces the file as a whole.

        Args:
            counts: (C,) int64 by fingerprint.

        Raises:
            CacheError: It could not be written; an earlier file is intact.
        """
        body = _pack(counts)
        content = blake2b(body, digest_size=_DIGEST_SIZE).digest() + body
        try:
            write_atomically(self.path, content)
        except OSError as error:
            raise CacheError(
                f"the class index could not be written to {self.path}: {error}"
            ) from error


def why_not_writable(folder: Path) -> OSError | None:
    """What prevents writing into a folder, which is made if it can be; None where nothing does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The permissions alone do not tell: the file system may be full or mounted to be read.
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error


def _pack(counts: Mapping[bytes, Tensor]) -> bytes:
    rows = torch.stack(list(counts.values()))
    # Most classes are in few images: the zeros are left out.
    place = rows.nonzero()
    table = {
        "keys": [key.hex() for key in counts],
        "image": place[:, 0].to(torch.int32),
        "class": place[:, 1].to(torch.int32),
        "pixels": rows[place[:, 0], place[:, 1]],
    }
    buffer = io.BytesIO()
    torch.save(table, buffer)
    return buffer.getvalue()


def _unpack(body: bytes, num_classes: int) -> dict[bytes, Tensor]:
    table = torch.load(io.BytesIO(body), weights_only=True)
    keys: Iterable[str] = table["keys"]
    rows = torch.zeros(len(table["keys"]), num_classes, dtype=torch.int64)
    rows[table["image"].long(), table["class"].long()] = table["pixels"]
    return {bytes.fromhex(key): row for key, row in zip(keys, rows, strict=True)}
