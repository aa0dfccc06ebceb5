"""A batch in parts is the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lossmaxpool.runs import RunInterruptedError
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import TrainConfig, TrainingError, train
from tests.tolerances import FROM_LOGITS
from tests.training.runs import assert_same_weights, tiny, weights
from tests.training.test_resume import press_ctrl_c_in_step


def in_parts(method: str, accumulate: int, **hardware: int) -> TrainConfig:
    """A network that knows nothing of the rest of its batch: no batch statistics, no dropout."""
    base = tiny(method, **hardware)
    model = replace(
        base.model, architecture="DeepLabV2", decoder_options={}, frozen_batch_norm=True
    )
    optimization = replace(base.optimization, accumulate=accumulate)
    return replace(base, model=model, optimization=optimization)


def test_two_parts_train_as_the_whole_batch(tmp_path: Path) -> None:
    # One part of the batch has as many images as the other: so has the mean over images.
    whole = train(in_parts("loss-only", 1), tmp_path / "whole")
    parts = train(in_parts("loss-only", 2), tmp_path / "parts")
    for name, expected in weights(tmp_path / "whole").items():
        scale = expected.abs().max().clamp(min=1e-3)
        found = weights(tmp_path / "parts")[name]
        torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=FROM_LOGITS)
    assert [entry.step for entry in parts.curve] == list(range(1, 9))
    for here, there in zip(parts.curve, whole.curve, strict=True):
        assert here.loss == pytest.approx(there.loss, rel=FROM_LOGITS)
        assert here.learning_rate == there.learning_rate
    assert [entry.step for entry in parts.evaluations] == [3, 6, 8]


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 4), (1, 1)])
def test_single_crops_that_a_batch_norm_cannot_take_are_refused(
    batch_size: int, accumulate: int, tmp_path: Path
) -> None:
    config = tiny()
    optimization = replace(config.optimization, batch_size=batch_size, accumulate=accumulate)
    message = rf"batch_size {batch_size} in .*accumulate {accumulate} parts on 1 devices leaves one"
    with pytest.raises(TrainingError, match=message):
        train(replace(config, optimization=optimization), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_single_crops_train_where_no_batch_norm_forbids_it(tmp_path: Path) -> None:
    config = in_parts("loss-only", 4)
    short = replace(config, optimization=replace(config.optimization, steps=1))
    assert train(short, tmp_path / "run").status == "finished"


@pytest.mark.parametrize("step", [3, 4])
def test_a_run_in_parts_resumes(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = in_parts("lmp", 2)
    train(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        press_ctrl_c_in_step(patch, step)
        with pytest.raises(RunInterruptedError, match=f"interrupted after step {step} of 8"):
            train(config, tmp_path / "run")
    train(in_parts("lmp", 2, workers=1), tmp_path / "run", resume=True)
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    records = [RunRecord.read(tmp_path / name) for name in ("run", "whole")]
    assert records[0].curve == records[1].curve
    assert records[0].evaluations == records[1].evaluations
