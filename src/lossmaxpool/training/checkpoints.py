"""Checkpoints that survive a full disk, a kill and a stranger's file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lossmaxpool.atomic import write_atomically
from lossmaxpool.models.weights import load_plain
from lossmaxpool.runs.errors import CheckpointError
from lossmaxpool.runs.folder import BEST as BEST
from lossmaxpool.runs.folder import LAST as LAST
from lossmaxpool.runs.folder import NEXT as NEXT
from lossmaxpool.runs.folder import kept_checkpoints as kept_checkpoints
from lossmaxpool.runs.folder import kept_name as kept_name


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's way to the disk: write beside and rename; read weights, never code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint whole or not at all.

        Raises:
            CheckpointError: It could not be written; the one that was there is intact.
        """
        path = Path(path)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            last = path.with_name(Path(LAST).name)
            survivor = (
                f"the last good checkpoint, {last}, is intact: free some space and resume from it"
                if last.exists()
                else "there is no earlier checkpoint: free some space and start again"
            )
            raise CheckpointError(
                f"a checkpoint of {buffer.tell() / 2**20:.1f} MiB could not be written to {path}: "
                f"{error.strerror or error}; {survivor}"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint as tensors and plain values only, whatever the caller asks for."""
        try:
            loaded = load_plain(path)
        except ValueError as error:
            raise CheckpointError(
                f"{error}; put {BEST} in its place, or train into a new folder"
            ) from error
        assert isinstance(loaded, dict)
        return loaded
