"""Mismatched tensors never reach the library, which gets unchecked addresses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lossmaxpool.ops.backends.native import gradient, pixel_losses, solve, weigh
from lossmaxpool.ops.weighting_set import WeightingSet

SCORES = torch.zeros(2, 3, 6, 5)
LABELS = torch.zeros(2, 6, 5, dtype=torch.int64)
LOSSES = torch.ones(2, 30)
VALID = torch.ones(2, 30, dtype=torch.bool)
PACKED = torch.ones(6, 2, dtype=torch.float64)
MAP = LOSSES.view(2, 6, 5)
UPSTREAM = torch.ones(2)


def losses_of(
    logits: Tensor = SCORES,
    target: Tensor = LABELS,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    return pixel_losses(logits, target, weight, ignore_index, label_smoothing)


def gradient_of(
    grad_value: Tensor = UPSTREAM,
    logits: Tensor = SCORES,
    target: Tensor = LABELS,
    losses: Tensor = MAP,
    packed: Tensor = PACKED,
    p: float = 1.3,
    weight: Tensor | None = None,
) -> Tensor:
    return gradient(
        grad_value, logits, target, weight, losses, packed, -100, 0.0, WeightingSet(p, 0.25)
    )


def solution_of(
    losses: Tensor = LOSSES,
    valid: Tensor | None = None,
    p: float = 1.3,
    fraction: float = 0.25,
    least: float = 1.0,
) -> Tensor:
    return solve(losses, valid, WeightingSet(p, fraction, least), False)


def weights_of(
    losses: Tensor = LOSSES, valid: Tensor | None = None, packed: Tensor = PACKED, p: float = 1.3
) -> Tensor:
    return weigh(losses, valid, packed, WeightingSet(p, 0.25))


@pytest.mark.parametrize(
    ("call", "wrong", "error", "words"),
    [
        (losses_of, {"logits": SCORES.double()}, TypeError, "logits is torch.float64"),
        (losses_of, {"logits": SCORES.to("meta")}, ValueError, "logits is a .* on meta"),
        (losses_of, {"logits": SCORES.to_sparse()}, ValueError, "sparse_coo tensor"),
        (losses_of, {"logits": SCORES[:, :0]}, ValueError, "at least one class"),
        (losses_of, {"logits": SCORES[0, 0, 0]}, ValueError, "at least one class"),
        (losses_of, {"logits": SCORES[:, :, :0]}, ValueError, "cannot be upsampled"),
        (losses_of, {"logits": torch.zeros(2, 3, 7, 5)}, ValueError, "cannot be upsampled"),
        (losses_of, {"logits": torch.zeros(2, 3, 6, 5, 1)}, ValueError, "as many images"),
        (losses_of, {"target": LABELS.bool()}, TypeError, "target is torch.bool"),
        (losses_of, {"target": LABELS.float()}, TypeError, "target is torch.float32"),
        (losses_of, {"target": LABELS.to("meta")}, ValueError, "target is a .* on meta"),
        (losses_of, {"target": LABELS[:1]}, ValueError, "as many images"),
        (losses_of, {"target": LABELS[:, 0]}, ValueError, "as many images"),
        (losses_of, {"target": LABELS[:, :0]}, ValueError, "cannot be upsampled"),
        (losses_of, {"weight": torch.ones(2)}, ValueError, r"weight is \(2,\).*shape \(3,\)"),
        (losses_of, {"weight": torch.ones(3, 1)}, ValueError, r"weight is \(3, 1\)"),
        (losses_of, {"weight": torch.ones(3).to("meta")}, ValueError, "weight is a .* on meta"),
        (losses_of, {"weight": torch.ones(3) * 1j}, TypeError, "weight is torch.complex64"),
        (losses_of, {"ignore_index": 2**63}, ValueError, "ignore_index is 9223372036854775808"),
        (losses_of, {"label_smoothing": 1.5}, ValueError, "label_smoothing is 1.5"),
        (losses_of, {"label_smoothing": math.nan}, ValueError, "label_smoothing is nan"),
        (gradient_of, {"logits": SCORES[:, :0]}, ValueError, "at least one class"),
        (gradient_of, {"target": LABELS[:1]}, ValueError, "as many images"),
        (gradient_of, {"weight": torch.ones(4)}, ValueError, r"weight is \(4,\)"),
        (gradient_of, {"grad_value": torch.ones(3)}, ValueError, r"grad_value is \(3,\)"),
        (gradient_of, {"grad_value": torch.ones(2).int()}, TypeError, "grad_value is torch.int32"),
        (gradient_of, {"losses": LOSSES}, ValueError, r"losses is \(2, 30\)"),
        (gradient_of, {"losses": LOSSES.view(2, 6, 5).double()}, TypeError, "losses is .*float64"),
        (gradient_of, {"packed": PACKED[:5]}, ValueError, r"packed is \(5, 2\)"),
        (gradient_of, {"packed": PACKED.float()}, TypeError, "packed is torch.float32"),
        (
            gradient_of,
            {"packed": PACKED[:, [0, 1, 1]], "grad_value": torch.ones(3)},
            ValueError,
            "3 pools for 2 images",
        ),
        (
            gradient_of,
            {"packed": PACKED[:, :0], "grad_value": torch.ones(0)},
            ValueError,
            "0 pools for 2 images",
        ),
        (gradient_of, {"p": 0.9}, ValueError, "p is 0.9"),
        (gradient_of, {"p": math.nan}, ValueError, "p is nan"),
        (solution_of, {"losses": LOSSES[0]}, ValueError, r"losses are \(30,\)"),
        (solution_of, {"losses": LOSSES.double()}, TypeError, "losses is torch.float64"),
        (solution_of, {"losses": LOSSES.to("meta")}, ValueError, "on meta"),
        (solution_of, {"valid": VALID[:, :29]}, ValueError, r"valid is \(2, 29\)"),
        (solution_of, {"valid": VALID.to(torch.uint8)}, TypeError, "valid is torch.uint8"),
        (solution_of, {"p": 0.5}, ValueError, "p is 0.5"),
        (solution_of, {"fraction": 1.5}, ValueError, "m is clip"),
        (solution_of, {"fraction": math.nan}, ValueError, "m is clip"),
        (solution_of, {"least": 0.0}, ValueError, "m is clip"),
        (weights_of, {"losses": LOSSES[0]}, ValueError, r"losses are \(30,\)"),
        (weights_of, {"valid": VALID[:1]}, ValueError, r"valid is \(1, 30\)"),
        (weights_of, {"packed": PACKED[:, :1]}, ValueError, "1 pools, the losses have 2 rows"),
        (weights_of, {"packed": PACKED[0]}, ValueError, r"packed is \(2,\)"),
        (weights_of, {"p": -1.0}, ValueError, "p is -1.0"),
    ],
)
def test_what_does_not_match_is_refused(
    call: Callable[..., Tensor], wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    call()
    with pytest.raises(error, match=words):
        call(**wrong)


@pytest.mark.parametrize("shape", [(0, 3, 6, 5), (2, 3, 0, 5), (2, 3, 6, 0), (2, 3, 0), (0, 3, 0)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    logits = torch.zeros(shape)
    target = torch.zeros(shape[0], *shape[2:], dtype=torch.int64)
    losses = losses_of(logits, target)
    assert losses.shape == target.shape
    rows = shape[0]
    packed = solution_of(losses.view(rows, math.prod(shape[2:])))
    assert packed.shape == (6, rows)
    assert packed.count_nonzero() == 0
    grad = gradient_of(torch.ones(rows), logits, target, losses, packed)
    assert grad.shape == logits.shape
    assert weights_of(torch.zeros(rows, 0), None, packed).shape == (rows, 0)
