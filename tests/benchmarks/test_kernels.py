"""What the host does is counted in turns."""

from __future__ import annotations

import pytest

from benchmarks import kernels


def test_every_loss_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "ROUNDS", 3)
    monkeypatch.setattr(kernels, "CALLS", 1)
    counted = kernels.host_microseconds("torch")
    assert set(counted) == {kernels.BASELINE, "MaxPoolingCrossEntropyLoss", "loss_max_pool"}
    assert counted[kernels.BASELINE]["of_cross_entropy"] == 1
    assert all(row["forward_and_backward_us"] > 0 for row in counted.values())
