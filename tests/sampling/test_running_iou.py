from __future__ import annotations

import io
import math

import pytest
import torch
from torch import Tensor

from lossmaxpool.metrics import ConfusionMatrix
from lossmaxpool.sampling import RunningIoU


def batch(seed: int, num_classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(0, num_classes, (2, 6, 5), generator=generator)
    target = torch.randint(0, num_classes, (2, 6, 5), generator=generator)
    target[0, :2] = 255
    return prediction, target


def test_without_forgetting_it_is_the_iou_of_all_batches() -> None:
    running, whole = RunningIoU(3, half_life=math.inf), ConfusionMatrix(3)
    for seed in range(5):
        running.update(*batch(seed))
        whole.update(*batch(seed))
    assert torch.equal(running.iou(), whole.iou())


def test_a_batch_counts_half_after_its_half_life() -> None:
    running = RunningIoU(3, half_life=4)
    running.update(*batch(0))
    before = running.matrix.clone()
    nothing = torch.full((1, 2, 2), 255)
    for _ in range(4):
        running.update(torch.zeros_like(nothing), nothing)
    torch.testing.assert_close(running.matrix, before / 2)


def test_what_was_learnt_shows() -> None:
    running = RunningIoU(2, half_life=10)
    target = torch.tensor([[[0, 1]]])
    for _ in range(200):
        running.update(torch.tensor([[[0, 0]]]), target)
    assert running.iou().tolist() == pytest.approx([0.5, 0])
    for _ in range(100):
        running.update(target, target)
    assert running.iou().min() > 0.99


def test_a_class_keeps_its_iou_while_it_is_not_seen() -> None:
    running = RunningIoU(3, half_life=5)
    running.update(torch.tensor([[[2, 2, 0]]]), torch.tensor([[[2, 2, 2]]]))
    for _ in range(100):
        running.update(torch.ones(1, 3, 3).long(), torch.ones(1, 3, 3).long())
    assert running.iou()[2] == pytest.approx(2 / 3)


def test_undefined_and_zero() -> None:
    running = RunningIoU(4)
    assert running.iou().isnan().all()
    running.update(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 2]]]))
    assert running.iou()[:3].tolist() == [0.5, 0, 0]  # 1 was predicted, 2 was missed
    assert running.iou()[3].isnan()


def test_a_state_goes_through_a_file() -> None:
    kept, resumed = RunningIoU(3, half_life=7), RunningIoU(3, half_life=7)
    kept.update(*batch(0))
    buffer = io.BytesIO()
    torch.save(kept.state_dict(), buffer)
    buffer.seek(0)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    for seed in (1, 2):
        kept.update(*batch(seed))
        resumed.update(*batch(seed))
    assert torch.equal(kept.matrix, resumed.matrix)


def test_a_state_does_not_change_behind_ones_back() -> None:
    running = RunningIoU(3)
    running.update(*batch(0))
    state = running.state_dict()
    matrix = state["matrix"].clone()
    running.update(*batch(1))
    assert torch.equal(state["matrix"], matrix)


@pytest.mark.parametrize("other", [RunningIoU(4), RunningIoU(3, half_life=3)])
def test_a_state_of_another_run_is_refused(other: RunningIoU) -> None:
    with pytest.raises(ValueError, match="resume with what the run began with"):
        RunningIoU(3).load_state_dict(other.state_dict())


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="half_life must be a positive number of batches, got 0"):
        RunningIoU(3, half_life=0)
    with pytest.raises(ValueError, match="num_classes is 0"):
        RunningIoU(0)
    running = RunningIoU(3)
    with pytest.raises(ValueError, match="expected integer class ids"):
        running.update(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).long())
    with pytest.raises(ValueError, match="expected the same"):
        running.update(torch.zeros(1, 1, 1).long(), torch.zeros(1, 2, 2).long())
    with pytest.raises(ValueError, match="expected 0 to 2"):
        running.update(torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 3))
    assert not running.matrix.any(), "a batch that was refused leaves no trace"


def test_it_says_what_it_is() -> None:
    running = RunningIoU(3)
    running.update(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 0]]]))
    assert repr(running) == "RunningIoU(num_classes=3, half_life=200, iou=[0.50, 0.00, -])"
