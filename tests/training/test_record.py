from __future__ import annotations

import json
from pathlib import Path

import pytest

from lossmaxpool.training import TrainingError
from lossmaxpool.training.record import RECORD, RunRecord


def test_a_record_survives_the_disk(finished: Path, tmp_path: Path) -> None:
    record = RunRecord.read(finished)
    record.write(tmp_path)
    assert RunRecord.read(tmp_path) == record


def test_another_schema_is_refused(finished: Path, tmp_path: Path) -> None:
    content = json.loads((finished / RECORD).read_text()) | {"schema": 2}
    (tmp_path / RECORD).write_text(json.dumps(content))
    with pytest.raises(TrainingError, match="schema 2, expected 1"):
        RunRecord.read(tmp_path)


def test_nan_is_never_written(finished: Path, tmp_path: Path) -> None:
    record = RunRecord.read(finished)
    record.miou = float("nan")
    with pytest.raises(ValueError, match="JSON compliant"):
        record.write(tmp_path)
    assert not list(tmp_path.iterdir())
