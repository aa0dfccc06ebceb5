"""Which files lie below a folder: one rule for readers and for predictions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[str]:
    """The files below a folder as relative paths with "/", in no particular order.

    Subfolders may be links, as those to another disk often are. What is hidden is left out:
    unpacking on a Mac leaves files "._name", which are no pictures.

    Args:
        folder: where to look; a folder that is absent holds nothing.
    """
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(here).relative_to(folder).as_posix()
        for name in names:
            if not name.startswith("."):
                yield name if prefix == "." else f"{prefix}/{name}"
