"""The work of the host is counted in turns; the committed file says that no GPU ran."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks import kernels


def test_every_loss_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "ROUNDS", 3)
    monkeypatch.setattr(kernels, "CALLS", 1)
    (counted,) = kernels.in_turns(
        {"torch": partial(kernels.one_round, kernels.of_backend("torch"))}
    ).values()
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
    before = content["before"]
    assert set(before) == {"commit", "environment", "host", "launches", "kernels"}
    assert before["host"].keys() <= content["host"].keys()
    assert before["kernels"].keys() == content["kernels"].keys()
    used = {one["kernel"] for launches in content["kernels"].values() for one in launches}
    hot = {"dense_losses_kernel", "dense_gradient_kernel", "sift_kernel, pass 0"}
    assert hot <= used
    for one in (one for launches in content["kernels"].values() for one in launches):
        # The last passes of the solver end by the losses.
        counted = not one["kernel"].startswith("sift_kernel") or one["kernel"].endswith("pass 0")
        assert (one["per_pixel"] is not None) == counted
        assert (one["bytes_per_pixel"] is not None) == counted
        assert one["instructions"] > sum(one["loops"][:1])


def test_a_checkout_without_the_kernels_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["kernels", "--before", str(tmp_path)])
    with pytest.raises(SystemExit):
        kernels.main()
    assert "expected a checkout of 94a39ed" in capsys.readouterr().err
