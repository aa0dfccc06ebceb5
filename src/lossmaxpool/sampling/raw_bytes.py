"""The memory of a tensor as bytes, for hashes, without NumPy."""

from __future__ import annotations

import ctypes

from torch import Tensor


def raw_bytes(tensor: Tensor) -> bytes:
    """The values of a tensor in row-major order, as they lie in memory."""
    dense = tensor.detach().cpu().contiguous()
    return ctypes.string_at(dense.data_ptr(), dense.nbytes)
