"""Atomic file writes: a file is written completely or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def sweep_partial(folder: Path) -> None:
    """Remove half-written files that killed processes left in a folder and its subfolders.

    No other process may be writing there.
    """
    for path in folder.rglob("*.partial"):
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its destination, flush it to the disk, then rename it into place.

    A reader of ``path`` sees either the old or the new content; a full disk keeps the old one.

    Args:
        path: The destination; its folder exists.

    Raises:
        OSError: The file could not be written; ``path`` is unchanged.
    """
    # A random name, not the process id: two machines that share a file system can have the same id.
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
