"""Fixtures of the losses' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """No graph of an earlier test, and none left for a later one."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()
