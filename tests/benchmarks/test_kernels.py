"""The work of the host is counted in turns; the committed file says that no GPU ran."""

from __future__ import annotations

import json

import pytest

from benchmarks import kernels


def test_every_loss_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "ROUNDS", 3)
    monkeypatch.setattr(kernels, "CALLS", 1)
    counted = kernels.host_microseconds("torch")
    assert set(counted) == {kernels.BASELINE, "MaxPoolingCrossEntropyLoss", "loss_max_pool"}
    assert counted[kernels.BASELINE]["of_cross_entropy"] == 1
    assert all(row["forward_and_backward_us"] > 0 for row in counted.values())


def test_the_committed_counts_are_complete() -> None:
    content = json.loads(kernels.RESULTS.read_text())
    assert "nothing ran on a GPU" in content["how"]
    assert {"native", "torch"} < set(content["host"])
    launched = content["launches"]["MaxPoolingCrossEntropyLoss"]
    assert launched.index("(backward)") < len(launched) - 1
    assert content["environment"]["triton"]
    assert set(content["before"]["kernels"]) <= set(content["kernels"])
    used = {one["kernel"] for launches in content["kernels"].values() for one in launches}
    hot = {"dense_losses_kernel", "dense_gradient_kernel", "sift_kernel, pass 0"}
    assert hot <= used
    for one in (one for launches in content["kernels"].values() for one in launches):
        # The last passes of the solver end by the losses.
        counted = not one["kernel"].startswith("sift_kernel") or one["kernel"].endswith("pass 0")
        assert (one["per_pixel"] is not None) == counted
        assert (one["bytes_per_pixel"] is not None) == counted
        assert one["instructions"] > sum(one["loops"][:1])
