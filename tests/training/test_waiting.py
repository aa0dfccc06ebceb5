from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lossmaxpool.data import AugmentedDataset
from lossmaxpool.training import train
from lossmaxpool.training.record import RunRecord
from tests.training.runs import tiny


def run(out: Path, *, steps: int, pause: float, monkeypatch: pytest.MonkeyPatch) -> float | None:
    """Train on crops that each take ``pause`` seconds longer; return the share of waiting."""
    original = AugmentedDataset.__getitem__

    def slowly(self: AugmentedDataset, index: Any) -> Any:
        time.sleep(pause)
        return original(self, index)

    monkeypatch.setattr(AugmentedDataset, "__getitem__", slowly)
    config = tiny()
    optimisation = replace(config.optimisation, steps=steps, batch_size=2)
    reporting = replace(config.reporting, eval_every=0, examples=0)
    return train(replace(config, optimisation=optimisation, reporting=reporting), out).waiting


def test_a_slow_loader_is_named_with_what_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    share = run(tmp_path / "run", steps=53, pause=0.1, monkeypatch=monkeypatch)
    assert share is not None
    assert share > 0.5
    spoken = [line for line in capsys.readouterr().out.splitlines() if "bottleneck" in line]
    # After the first steps, and at the end.
    assert len(spoken) == 2
    assert f"({share:.0%}) for its images" in spoken[-1]
    assert "raise hardware.workers, now 0, or set hardware.cache" in spoken[-1]


def test_a_short_run_is_measured_but_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    share = run(tmp_path / "run", steps=4, pause=0.1, monkeypatch=monkeypatch)
    assert share is not None
    assert share > 0.5
    assert "bottleneck" not in capsys.readouterr().out


def test_the_share_is_part_of_the_record(finished: Path) -> None:
    share = RunRecord.read(finished).waiting
    assert share is not None
    assert 0 < share < 1
