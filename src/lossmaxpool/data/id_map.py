"""From the ids of mask files to class ids."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossmaxpool.data.errors import DataError
from lossmaxpool.data.sample import IGNORE_INDEX, LabelSet

# No class has this id: a label set has at most 254, and they count from 0.
_UNKNOWN = IGNORE_INDEX - 1


class IdMap:
    """The class of every id that a data set's masks may hold.

    Args:
        labels: the classes.
        ids: file id -> class id, or ``IGNORE_INDEX``; any other id in a mask is an error.
    """

    def __init__(self, labels: LabelSet, ids: Mapping[int, int]) -> None:
        self.labels = labels
        self.ids = dict(ids)
        # A table instead of a dictionary: one operation maps a whole mask. Its last entry is no
        # id's, and its first is that of the smallest id, which may be negative.
        self._first = min(0, *self.ids)
        size = max(256, max(self.ids) + 2) - self._first
        self._table = np.full(size, _UNKNOWN, dtype=np.uint8)
        for file_id, class_id in self.ids.items():
            self._table[file_id - self._first] = class_id

    def __call__(self, ids: NDArray[np.integer], subject: str) -> Tensor:
        """Class ids of one mask.

        Args:
            ids: (H, W) ids as they stand in the file.
            subject: the mask, for the message.

        Returns:
            (H, W) uint8.

        Raises:
            DataError: naming the ids that are unknown.
        """
        if ids.dtype == np.uint8:
            # Several times as fast as indexing the table, and most masks are bytes.
            table = self._table[-self._first :][:256].tobytes()
            content = bytearray(np.ascontiguousarray(ids)).translate(table)
            mapped = np.frombuffer(content, dtype=np.uint8).reshape(ids.shape)
        else:
            last = len(self._table) - 1
            place = ids.astype(np.int64) - self._first
            mapped = self._table[np.where((place >= 0) & (place < last), place, last)]
        if (mapped == _UNKNOWN).any():
            unknown = np.unique(ids[mapped == _UNKNOWN]).tolist()
            raise DataError(f"{subject} holds {self._explain(unknown)}")
        return torch.from_numpy(mapped)

    def _explain(self, unknown: list[int]) -> str:
        shown = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        known = sorted(i for i, c in self.ids.items() if c != IGNORE_INDEX)
        ignored = sorted(i for i, c in self.ids.items() if c == IGNORE_INDEX)
        expected = f"{self.labels.num_classes} classes with ids {known[0]}..{known[-1]}"
        if ignored:
            expected += f" and {', '.join(map(str, ignored))} for unlabelled pixels"
        return f"the values {shown}, but there are {expected}."
