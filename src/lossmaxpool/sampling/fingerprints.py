"""What identifies a mask, and where what is known of it is kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from lossmaxpool.sampling.count_cache import why_not_writable


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


def cache_folder(beside: Path | str | None = None) -> Path | None:
    """The first folder of these that can be written: beside the data, or the user's cache.

    Args:
        beside: Folder of the data set; the cache is its subfolder ``.lossmaxpool``, which all who
            use the data share.

    Returns:
        The folder, made if it was absent; None, with a warning, where none can be written.
    """
    problems = []
    for folder in _candidates(beside):
        problem = why_not_writable(folder)
        if problem is None:
            return folder
        problems.append(f"{folder} ({problem})")
    warnings.warn(
        "no folder can be written to keep the class index in, so that the masks are counted in "
        f"every run: {', '.join(problems) or 'there is no home folder'}",
        stacklevel=2,
    )
    return None


def _candidates(beside: Path | str | None) -> list[Path]:
    folders = [] if beside is None else [Path(beside) / ".lossmaxpool"]
    given = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):  # nobody's home
        folders.append((Path(given) if given else Path.home() / ".cache") / "lossmaxpool")
    return folders
