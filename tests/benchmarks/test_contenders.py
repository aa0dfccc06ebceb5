"""All contenders that claim to be the same loss have the same gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from benchmarks.speed import rivals
from benchmarks.speed.cases import Case, logits_and_target, pixel_losses
from benchmarks.speed.contenders import BASELINE, Field, of_logits, of_losses
from torch import Tensor

from tests.tolerances import CONTENDERS

CPU = torch.device("cpu")
DENSE = Case("dense", (2, 5, 40, 24))
UPSAMPLING = Case("upsampling", (2, 5, 40, 24))


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation takes seconds and changes no value."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


def gradient(field: Field, name: str, leaf: Tensor) -> Tensor:
    leaf.grad = None
    field.calls[name]()
    assert leaf.grad is not None
    return leaf.grad.clone()


def ours(field: Field) -> list[str]:
    return [name for name in field.calls if name.startswith("lmp_") and name != "lmp_by_sort"]


def test_ours_equal_loss_max_pooling_by_sort() -> None:
    logits, target = logits_and_target(DENSE, CPU)
    field = of_logits(logits, target)
    expected = gradient(field, "lmp_by_sort", logits)
    assert field.auto in ours(field)
    for name in ours(field):
        torch.testing.assert_close(gradient(field, name, logits), expected, **CONTENDERS["small"])


def test_upsampling_is_part_of_the_contenders() -> None:
    logits, target = logits_and_target(UPSAMPLING, CPU)
    assert logits.shape == (2, 5, 5, 3)
    assert target.shape == (2, 40, 24)
    field = of_logits(logits, target)
    assert "clone" not in field.calls
    wide = F.interpolate(logits, size=(40, 24), mode="bilinear", align_corners=False)
    (plain,) = torch.autograd.grad(F.cross_entropy(wide, target), logits, retain_graph=True)
    torch.testing.assert_close(gradient(field, BASELINE, logits), plain)
    (sorted_,) = torch.autograd.grad(rivals.by_sort(wide, target), logits)
    for name in ours(field):
        torch.testing.assert_close(
            gradient(field, name, logits), sorted_, **CONTENDERS["upsampled"]
        )


def test_the_solver_equals_sorting() -> None:
    losses = pixel_losses(Case("solver", (2, 1, 1, 500)), CPU)
    field = of_losses(losses)
    expected = gradient(field, "lmp_by_sort", losses)
    torch.testing.assert_close(gradient(field, "lmp", losses), expected, **CONTENDERS["losses"])


def test_who_cannot_run_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any, **_: Any) -> Any:
        def fail(*_: Any) -> None:
            raise RuntimeError("No working C++ compiler\nand a long trace")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    field = of_logits(*logits_and_target(DENSE, CPU))
    assert field.left_out["cross_entropy_compiled"] == "No working C++ compiler"
    assert field.left_out["liger"] == "needs a GPU"
    assert field.left_out["lmp_triton"]
    assert not field.calls.keys() & field.left_out.keys()
