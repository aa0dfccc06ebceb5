"""The same tests of the kernels for Triton's interpreter and for a GPU.

Whether Triton interprets is settled when it is first imported, for the whole process, and the
compiler of torch imports it too. So the tests in ``kernels`` run here only where there is a GPU, or
where the variable was set from the start: ``test_interpreter.py`` starts such processes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lossmaxpool.ops.backends.triton.support import absence, interpreted

KERNELS = Path(__file__).parent / "kernels"

collect_ignore = []
if absence() is not None or not (interpreted() or torch.cuda.is_available()):
    collect_ignore.append(str(KERNELS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if KERNELS in item.path.parents and not interpreted():
            item.add_marker(pytest.mark.cuda)


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device("cpu" if interpreted() else "cuda")
