"""Tests of the native kernels, which run only if the library was built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch

from lossmaxpool.ops.backends.native import absence, library


@pytest.fixture(autouse=True)
def built() -> None:
    """Skip if no library was built; an existing library must load."""
    if (reason := absence()) is not None:
        if library.PATH.is_file() and library.SWITCH not in reason:
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def threads() -> Callable[[int], AbstractContextManager[None]]:
    """``with threads(3):`` torch, and with it the kernels, use three threads."""

    @contextmanager
    def use(number: int) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(number)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return use
