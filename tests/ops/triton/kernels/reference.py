"""The expected results of the kernels: torch in float64, and the oracle."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossmaxpool.ops.backends.triton import kernels
from lossmaxpool.ops.weighting_set import WeightingSet
from tests.reference import pooled, reference_losses
from tests.tolerances import FROM_LOGITS

IGNORE = 255
# One rounding of the result to the logits' dtype; the interpreter rounds bfloat16 towards 0.
ROUNDING = {torch.float32: 0.0, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
# The float32 logarithm of a sum just above 1, for torch's own loss as for ours.
CONFIDENT = 2e-7


class Problem(NamedTuple):
    logits: Tensor  # (B, C, *low)
    target: Tensor  # (B, *spatial) int64
    weight: Tensor | None = None
    smoothing: float = 0.0


def problem(
    batch: int,
    classes: int,
    low: tuple[int, ...],
    spatial: tuple[int, ...] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    weighted: bool = False,
    smoothing: float = 0.0,
    ignored: float = 0.25,
    seed: int = 0,
) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    spatial = low if spatial is None else spatial
    logits = (4 * torch.randn(batch, classes, *low, generator=generator)).to(dtype)
    target = torch.randint(classes, (batch, *spatial), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORE
    weight = torch.rand(classes, generator=generator) + 0.5 if weighted else None
    return Problem(logits, target, weight, smoothing)


def true_losses(x: Tensor, case: Problem) -> Tensor:
    """(B, *spatial) float64 losses of float64 logits ``x``, 0 where a pixel is ignored."""
    return reference_losses(x, case.target, case.weight, IGNORE, case.smoothing)


def run(
    case: Problem, p: float, device: torch.device, pools: int, label: torch.dtype = torch.int64
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, values and the gradient of ``sum (1 + r) value_r``, by the kernels, on the CPU."""
    logits, target = case.logits.to(device), case.target.to(device, label)
    weight = None if case.weight is None else case.weight.to(device)
    options = (IGNORE, case.smoothing)
    losses = kernels.pixel_losses(logits, target, weight, *options)
    packed = kernels.solve(losses.view(pools, -1), None, WeightingSet(p, 0.25), True)
    outer = torch.arange(1.0, pools + 1, device=device)
    grad = kernels.gradient(
        outer, logits, target, weight, losses, packed, *options, WeightingSet(p, 0.25)
    )
    assert (grad.shape, grad.dtype) == (logits.shape, logits.dtype)
    assert grad.stride() == torch.empty_like(logits).stride()
    return losses.cpu(), packed[0].cpu(), grad.cpu()


def check(
    case: Problem, p: float, device: torch.device, *, pools: int, label: torch.dtype = torch.int64
) -> None:
    """All three stages against float64, relative to the largest entry of each."""
    losses, values, grad = run(case, p, device, pools, label)
    leaf = case.logits.detach().double().requires_grad_()
    truth = true_losses(leaf, case)
    valid = case.target != IGNORE
    expected = pooled(truth.reshape(pools, -1), valid.reshape(pools, -1), p=p)
    (slope,) = torch.autograd.grad((expected * torch.arange(1.0, pools + 1)).sum(), leaf)
    assert (losses[~valid] == -1).all()
    near(losses[valid], truth.detach()[valid], FROM_LOGITS, CONFIDENT)
    near(values, expected.detach(), FROM_LOGITS, CONFIDENT)
    near(grad, slope, FROM_LOGITS + ROUNDING[case.logits.dtype])


def near(ours: Tensor, truth: Tensor, tolerance: float, floor: float = 0.0) -> None:
    room = tolerance * float(truth.abs().max()) + floor if truth.numel() else 0.0
    torch.testing.assert_close(ours.double(), truth, rtol=0, atol=room)
