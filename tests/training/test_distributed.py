from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from lossmaxpool.training.record import RunRecord
from tests.training.runs import tiny

COMMAND = "import sys; from lossmaxpool.cli import main; sys.exit(main())"


def test_two_processes_see_every_validation_image_once(tmp_path: Path) -> None:
    # Three images on two processes: the shares are uneven. Lightning starts the second process by
    # repeating this one's command line.
    config = tiny("base", devices=2, strategy="ddp")
    (tmp_path / "ddp.yaml").write_text(yaml.safe_dump(config.to_dict()))
    (tmp_path / "run.py").write_text(COMMAND)
    words = ["run.py", "train", "--config", "ddp.yaml", "--out", "out"]
    result = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    record = RunRecord.read(tmp_path / "out")
    assert record.status == "finished"
    assert record.environment["devices"] == 2
    assert [sum(row) for row in record.confusion] == record.val_pixels
    assert result.stdout.count("pixel accuracy") == 1
