"""The selection of the backend and its explanation."""

from __future__ import annotations

import pytest
import torch

from lossmaxpool import MaxPoolingCrossEntropyLoss, explain_backend
from lossmaxpool.ops.dispatch import absence
from tests.cases import labeled

NO_KERNEL = absence("native")
needs_native = pytest.mark.skipif(NO_KERNEL is not None, reason=str(NO_KERNEL))
LOGITS, TARGET = labeled(1, 3, 4, 5)


@needs_native
def test_on_a_cpu_auto_is_the_native_kernel() -> None:
    explanation = explain_backend(LOGITS, TARGET)
    assert explanation.backend == "native"
    assert explanation.reasons["native"] == "is the fastest that can run"
    assert explanation.reasons["torch"] == "could run as well"
    assert str(explanation).count("->") == 1
    assert "-> native" in str(explanation)


def test_what_was_asked_for_is_taken() -> None:
    explanation = explain_backend(LOGITS, TARGET, "torch")
    assert explanation.backend == "torch"
    assert explanation.reasons["torch"] == "is what was asked for"


@pytest.mark.parametrize(
    ("logits", "target", "reason"),
    [
        (LOGITS.double(), TARGET, "float64"),
        (LOGITS, LOGITS.softmax(1), "probabilities are computed by torch's own operations"),
        (LOGITS[..., None].repeat(1, 1, 1, 1, 2), torch.zeros(1, 8, 10, 4).long(), "upsample"),
    ],
)
def test_what_no_kernel_takes_is_computed_by_torch(
    logits: torch.Tensor, target: torch.Tensor, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    explanation = explain_backend(logits, target)
    assert explanation.backend == "torch"
    if NO_KERNEL is None:
        assert reason in explanation.reasons["native"]
    MaxPoolingCrossEntropyLoss()(logits, target)


@needs_native
def test_a_choice_that_cannot_take_these_tensors_is_refused() -> None:
    criterion = MaxPoolingCrossEntropyLoss(backend="native")
    with pytest.raises(RuntimeError, match=r'"native" cannot run: .*float64.*Use "auto"'):
        criterion(LOGITS.double(), TARGET)
    with pytest.raises(RuntimeError, match=r'"native" cannot run: target probabilities'):
        criterion(LOGITS, LOGITS.softmax(1))


def test_auto_never_interprets_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    explanation = explain_backend(LOGITS, TARGET)
    assert explanation.backend != "triton"
    assert "interpreter, which is for tests" in explanation.reasons["triton"]
