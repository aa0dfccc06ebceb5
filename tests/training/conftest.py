from __future__ import annotations

from pathlib import Path

import pytest

from lossmaxpool.training import train
from tests.training.runs import tiny


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never interrupted; not to be written to."""
    folder = tmp_path_factory.mktemp("training") / "finished"
    train(tiny(), folder)
    return folder
