"""Fixtures of the losses' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """Reset torch.compile before and after the test."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()
