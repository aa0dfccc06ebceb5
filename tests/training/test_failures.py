from __future__ import annotations

import errno
import itertools
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from lossmaxpool.atomic import write_atomically
from lossmaxpool.runs import CheckpointError, NonFiniteLossError
from lossmaxpool.runs import record as record_module
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainingError, checkpoints, loop, train
from lossmaxpool.training.checkpoints import BEST, LAST
from tests.training.runs import assert_same_weights, tiny, weights


def test_a_nan_loss_names_step_and_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = loop.pad_to_stride, itertools.count()

    def pad_to_stride(*crops: Any) -> tuple[torch.Tensor, torch.Tensor]:
        images, masks = original(*crops)
        return (images * torch.nan if next(calls) == 5 else images), masks

    monkeypatch.setattr(loop, "pad_to_stride", pad_to_stride)
    with pytest.raises(NonFiniteLossError, match=r"the loss is nan at step 5, .* train-0000\d, "):
        train(tiny("base"), tmp_path / "run")
    assert RunRecord.read(tmp_path / "run").status == "failed"
    content = torch.load(tmp_path / "run" / LAST, weights_only=True)
    assert content["global_step"] == 4
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = torch.optim.SGD.step, itertools.count()

    def step(self: torch.optim.SGD, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        if next(calls) == 3:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(torch.inf)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    with pytest.raises(NonFiniteLossError, match=r"weights are NaN or infinite after step 4, "):
        train(tiny(), tmp_path / "run")
    assert torch.load(tmp_path / "run" / LAST, weights_only=True)["global_step"] == 3
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_a_full_disk_keeps_the_last_good_checkpoint(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def fill_up(path: Path, content: bytes) -> None:
        nonlocal written
        written += 1
        if written == 4:  # steps 2 and 3, the best state so far, step 4
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_atomically(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_atomically", fill_up)
        with pytest.raises(CheckpointError, match=r"No space left.*last\.ckpt, is intact"):
            train(tiny(), tmp_path / "run")
    assert RunRecord.read(tmp_path / "run").status == "failed"
    assert torch.load(tmp_path / "run" / LAST, weights_only=True)["global_step"] == 3
    train(tiny(), tmp_path / "run", resume=True)
    assert_same_weights(tmp_path / "run", finished)


def test_a_disk_that_stays_full_hides_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(record_module, "write_atomically", fail)
    with pytest.raises(TrainingError, match=r"No space left .* last good checkpoint is intact"):
        train(tiny(), tmp_path / "run")
    assert not (tmp_path / "run" / "record.json").exists()


def test_a_file_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"good")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomically(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]


def test_no_earlier_checkpoint_is_not_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints, "write_atomically", fail)
    with pytest.raises(CheckpointError, match="no earlier checkpoint"):
        train(tiny(), tmp_path / "run")
    assert not (tmp_path / "run" / BEST).exists()
