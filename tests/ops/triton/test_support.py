"""Reasons why the kernels reject inputs, without importing Triton."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from lossmaxpool.ops.backends.kernel_inputs import merged_planes
from lossmaxpool.ops.backends.triton import support

SIZE = torch.Size((4, 6))
LOGITS = torch.zeros(2, 3, 4, 6)
TARGET = torch.zeros(2, 4, 6, dtype=torch.uint8)
VOLUME = torch.zeros(2, 3, 4, 6, 2)


@pytest.fixture
def interpreting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the support checks see an active interpreter; no kernel runs."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(support, "installed", lambda: True)


@pytest.mark.usefixtures("interpreting")
def test_takes_what_it_should() -> None:
    assert support.supports(LOGITS, TARGET, SIZE) is None
    assert support.supports(LOGITS.half(), TARGET.long(), SIZE) is None
    assert support.supports(LOGITS[:, :, 1:3, 2:5], TARGET[:, 1:3, 2:5], torch.Size((2, 3))) is None
    assert support.supports(LOGITS[:, :, ::2, ::3], TARGET, SIZE) is None
    assert support.supports(VOLUME, TARGET.expand(2, 4, 6), VOLUME.shape[2:]) is None
    assert support.supports_solve(torch.zeros(2, 5)) is None


@pytest.mark.usefixtures("interpreting")
@pytest.mark.parametrize(
    ("logits", "target", "spatial", "reason"),
    [
        (LOGITS.double(), TARGET, SIZE, "float64"),
        (LOGITS, TARGET.bool(), SIZE, "torch.bool"),
        (LOGITS.to("meta"), TARGET.to("meta"), SIZE, "meta"),
        (LOGITS, TARGET.to("meta"), SIZE, "the target is on meta"),
        (VOLUME, TARGET, torch.Size((8, 6, 2)), "one or two dimensions"),
        (VOLUME[:, :, ::2, ::2], TARGET, torch.Size((2, 3, 2)), "do not merge"),
    ],
)
def test_refuses_in_words(
    logits: torch.Tensor, target: torch.Tensor, spatial: torch.Size, reason: str
) -> None:
    assert reason in str(support.supports(logits, target, spatial))


@pytest.mark.usefixtures("interpreting")
def test_refuses_to_solve_in_words() -> None:
    assert "float64" in str(support.supports_solve(torch.zeros(2, 5).double()))


def test_a_cpu_is_for_the_interpreter_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(support, "installed", lambda: True)
    reason = str(support.supports(LOGITS, TARGET, SIZE))
    assert "cpu tensors" in reason or "no GPU" in reason


def test_says_when_triton_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "installed", lambda: False)
    assert support.supports(LOGITS, TARGET, SIZE) == "triton is not installed"


def test_asking_imports_no_triton() -> None:
    code = (
        "import sys, lossmaxpool.ops.backends.triton.support as s, torch; "
        "s.supports(torch.zeros(1, 2, 3), torch.zeros(1, 3).long(), torch.Size((3,))); "
        "assert 'triton' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("logits", "flat", "unit"),
    [
        (torch.zeros(2, 3, 4, 8), True, 16),
        (torch.zeros(2, 3, 5, 6), True, 2),
        (torch.zeros(2, 3, 5, 7), True, 1),
        (torch.zeros(2, 3, 4, 8)[:, :, :, 1:5], False, 1),
        (torch.zeros(2, 3, 4, 8).contiguous(memory_format=torch.channels_last), True, 1),
        (torch.zeros(2, 3), True, 1),
    ],
)
def test_planes(logits: torch.Tensor, flat: bool, unit: int) -> None:
    dense = pytest.importorskip("lossmaxpool.ops.backends.triton.dense", reason="needs Triton")
    view = merged_planes(logits)
    assert view is not None
    assert (view.flat, dense.unit_of(view)) == (flat, unit)
