"""Pixel counts that are kept between runs, each under the fingerprint of its mask."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from lossmaxpool._version import __version__
from lossmaxpool.atomic import write_atomically

_DIGEST_SIZE = 16


class CacheError(OSError):
    """Counts that cannot be kept where they are asked to be."""


class CountCache:
    """One file of counts, found by content and never out of date.

    There is one row for each mask that was ever counted, under the mask's fingerprint: a changed
    mask has no row, and a data set that is split or ordered in another way finds all of its own.
    Classes, ignored value and version of the package are in the file's name. The file begins
    with a hash of the rest, so that a damaged one is noticed, and is replaced as a whole.

    A data set is often read-only while what is known of it lies beside it, so that there may be
    several folders: all of them are read, and the first that can be written is written.

    Args:
        folders: Where the file may lie.
        num_classes: C.
        ignore_index: Value of the pixels that belong to no class.
    """

    def __init__(self, folders: Sequence[Path], num_classes: int, ignore_index: int) -> None:
        meaning = f"{__version__} {num_classes} {ignore_index}".encode()
        name = f"class-counts-{blake2b(meaning, digest_size=6).hexdigest()}.bin"
        self.num_classes = num_classes
        self.paths = tuple(folder / name for folder in folders)

    def read(self) -> dict[bytes, Tensor]:
        """The (C,) counts by fingerprint, of all files that are there.

        Warns of a file that is damaged or cannot be read.
        """
        known: dict[bytes, Tensor] = {}
        for path in self.paths:
            try:
                content = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                warnings.warn(f"the class index in {path} cannot be read: {error}", stacklevel=3)
                continue
            digest, body = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
            if blake2b(body, digest_size=_DIGEST_SIZE).digest() != digest:
                warnings.warn(
                    f"the class index in {path} is damaged: the masks are counted again",
                    stacklevel=3,
                )
                continue
            known |= _unpack(body, self.num_classes)
        return known

    def writable_path(self, num_missing: int) -> Path:
        """The first file that can be written, to be asked for before any work is done for it.

        Args:
            num_missing: Masks to count, for the message.

        Raises:
            CacheError: No folder can be made or written.
        """
        problems = []
        for path in self.paths:
            problem = why_not_writable(path.parent)
            if problem is None:
                return path
            problems.append(f"{path.parent} ({problem})")
        raise CacheError(
            f"the class index cannot be kept in {', '.join(problems) or 'any folder'}; "
            f"{num_missing} masks have to be counted. Give a cache folder that can be written, or "
            "none to count the masks in every run"
        )

    def write(self, path: Path, counts: Mapping[bytes, Tensor]) -> None:
        """Replaces a file as a whole.

        Args:
            path: From :meth:`writable_path`.
            counts: (C,) int64 by fingerprint.

        Raises:
            CacheError: It could not be written; an earlier file is intact.
        """
        body = _pack(counts)
        content = blake2b(body, digest_size=_DIGEST_SIZE).digest() + body
        try:
            write_atomically(path, content)
        except OSError as error:
            raise CacheError(f"the class index could not be written to {path}: {error}") from error


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
