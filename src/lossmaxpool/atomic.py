"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def sweep_partial(folder: Path) -> None:
    """Remove what kills have left of half-written files in a folder and below it.

    Nobody else may be writing there.

    Args:
        folder: The folder; it need not exist.
    """
    for path in folder.rglob("*.partial"):
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its destination, flush it to the disk, then rename it into place.

    Whoever reads ``path`` finds the old content or the new, and a full disk leaves the old one.

    Args:
        path: The destination; its folder exists.
        content: All of the new content.

    Raises:
        OSError: It could not be written; ``path`` is what it was.
    """
    # A random name: on a file system that machines share, two of them may have one process number.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
