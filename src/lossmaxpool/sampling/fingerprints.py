"""What identifies a mask, and where what is known of it is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path


def file_fingerprint(path: Path | str, ids: Mapping[int, int] | None = None) -> bytes:
    """A hash of a mask file's bytes and of what its ids mean.

    Size and time of a file are no fingerprint: copying, unpacking and checking out may keep or
    restore both over another content. Its bytes are one, and are read in a fraction of the time
    that decoding takes.

    Args:
        path: The file.
        ids: The class of each id in the file, where they are mapped.

    Returns:
        16 bytes.

    Raises:
        OSError: The file cannot be read.
    """
    meaning = repr(sorted(ids.items()) if ids is not None else None).encode()
    content = blake2b(Path(path).read_bytes(), digest_size=32).digest()
    return blake2b(content + meaning, digest_size=16).digest()


def cache_folders(beside: Path | str | None = None) -> list[Path]:
    """Where counts are kept between runs: beside the data, or else in the user's cache.

    Args:
        beside: Folder of the data set; the cache is its subfolder ``.lossmaxpool``, which all who
            use the data share.

    Returns:
        The folders for :meth:`ClassIndex.build`, which need not exist.
    """
    folders = [] if beside is None else [Path(beside) / ".lossmaxpool"]
    given = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):  # nobody's home
        folders.append((Path(given) if given else Path.home() / ".cache") / "lossmaxpool")
    return folders
