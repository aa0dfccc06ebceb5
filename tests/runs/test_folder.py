"""Which folders may be written to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lossmaxpool.runs.folder import CONFIG, LAST, check_folder, claimed_output, is_unused
from lossmaxpool.runs.record import RECORD
from lossmaxpool.training import TrainingError, train
from tests.training.runs import tiny


def left_behind(folder: Path, status: str, *, checkpoint: bool = False) -> Path:
    """A folder as a run that has ended leaves it, written without training."""
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(yaml.safe_dump(tiny().to_dict()))
    (folder / RECORD).write_text(json.dumps({"status": status}))
    if checkpoint:
        (folder / LAST).parent.mkdir()
        (folder / LAST).write_bytes(b"weights")
    return folder


def test_a_start_that_failed_blocks_nothing(tmp_path: Path) -> None:
    assert is_unused(tmp_path)
    assert is_unused(left_behind(tmp_path / "failed", "failed"))
    assert not is_unused(left_behind(tmp_path / "trained", "failed", checkpoint=True))
    assert not is_unused(left_behind(tmp_path / "killed", "interrupted"))
    other = replace(tiny(), seed=7)
    check_folder(other, tmp_path / "failed", resume=False)
    check_folder(other, tmp_path / "failed", resume=True)
    with pytest.raises(TrainingError, match="not empty"):
        check_folder(other, tmp_path / "killed", resume=False)
    with pytest.raises(TrainingError, match="seed: 0 -> 7"):
        check_folder(other, tmp_path / "killed", resume=True)


def test_several_starts_that_failed_block_nothing(tmp_path: Path) -> None:
    left_behind(tmp_path / "out" / "base-seed0", "failed")
    (tmp_path / "out" / "compare.yaml").write_text("seeds: [0]\n")
    assert is_unused(tmp_path / "out", {"compare.yaml"})
    assert not is_unused(tmp_path / "out")
    left_behind(tmp_path / "out" / "base-seed1", "interrupted")
    assert not is_unused(tmp_path / "out", {"compare.yaml"})


def test_an_error_before_the_first_run_leaves_no_folder(tmp_path: Path) -> None:
    runs = [(tiny(), tmp_path / "out" / "base-seed0")]
    saved = {"compare.yaml": {"seeds": [0]}}

    def fail(begun: bool) -> None:
        with claimed_output(tmp_path / "out", saved, runs, resume=False):
            assert (tmp_path / "out" / "compare.yaml").is_file()
            if begun:
                left_behind(runs[0][1], "interrupted")
            raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        fail(begun=False)
    assert not (tmp_path / "out").exists()
    with pytest.raises(OSError, match="no network"):
        fail(begun=True)
    assert (tmp_path / "out" / "compare.yaml").is_file()


def test_only_a_run_is_resumed(tmp_path: Path) -> None:
    for folder in (tmp_path / "typo", tmp_path):
        with pytest.raises(
            TrainingError, match=r"there is nothing to resume in .*: check the name"
        ):
            train(tiny(), folder, resume=True)
    assert not list(tmp_path.iterdir())
    check_folder(tiny(), tmp_path / "new", resume="auto")


def test_a_folder_of_version_0_1_is_resumed(tmp_path: Path) -> None:
    folder = left_behind(tmp_path / "old", "interrupted")
    content = yaml.safe_load((folder / CONFIG).read_text())
    content["optimisation"] = content.pop("optimization")
    (folder / CONFIG).write_text(yaml.safe_dump(content))
    check_folder(tiny(), folder, resume=True)
