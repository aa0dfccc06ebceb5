"""The implementations measured in a case, and why others cannot run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed import rivals
from lossmaxpool import MaxPoolingCrossEntropyLoss, loss_max_pool
from lossmaxpool.ops.dispatch import Backend, explain_backend

Criterion = Callable[[Tensor, Tensor], Tensor]
BASELINE = "cross_entropy"
# How explain_backend begins to say that one cannot run.
_REFUSED = "does not run: "


@dataclass
class Field:
    """The contenders of a case: each one call, forward and backward.

    Attributes:
        calls: by name, what is measured.
        left_out: by name, why a contender does not run here.
        auto: the name of what ``backend="auto"`` takes, where logits are given.
    """

    calls: dict[str, Callable[[], object]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    auto: str | None = None


def of_logits(logits: Tensor, target: Tensor) -> Field:
    """Contenders for (B, C, h, w) logits, upsampled where the (B, H, W) target is larger."""
    found = Field()
    upsampled = logits.shape[2:] != target.shape[1:]

    def enter(name: str, criterion: Criterion) -> None:
        found.calls[name] = lambda: criterion(logits, target).backward()

    def prepared(criterion: Criterion) -> Criterion:
        return _after_upsampling(criterion) if upsampled else criterion

    enter(BASELINE, prepared(rivals.cross_entropy))
    optional = {
        "cross_entropy_compiled": torch.compile(prepared(rivals.cross_entropy), dynamic=False),
        "liger": prepared(rivals.liger),
    }
    for name, criterion in optional.items():
        refusal = _refusal(name, criterion, logits, target)
        if refusal is None:
            enter(name, criterion)
        else:
            found.left_out[name] = refusal
    if not upsampled:
        enter("top_k", rivals.bootstrapped)
        enter("lmp_by_sort", rivals.by_sort)
        found.calls["clone"] = lambda: logits.detach().clone()
    explanation = explain_backend(logits, target)
    found.auto = f"lmp_{explanation.backend}"
    for backend, reason in explanation.reasons.items():
        name = f"lmp_{backend}"
        if reason.startswith(_REFUSED):
            found.left_out[name] = reason.removeprefix(_REFUSED)
        else:
            enter(name, _ours(backend))
    return found


def of_losses(losses: Tensor) -> Field:
    """Contenders for (B, n) losses: the solver alone."""

    def through(pool: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        return lambda: pool(losses).backward()

    kth = losses.shape[1] - max(1, int(rivals.SHARE * losses.shape[1]))
    return Field(
        {
            "lmp": through(partial(loss_max_pool, p=rivals.P, min_support=rivals.SHARE)),
            "lmp_by_sort": through(rivals.sorted_max_pool),
            "top_k": through(rivals.top_k),
            # Finds bootstrapping's threshold and nothing else: no value, no gradient.
            "kthvalue": lambda: losses.detach().kthvalue(kth, dim=1),
        }
    )


def _ours(backend: str) -> Criterion:
    return MaxPoolingCrossEntropyLoss(
        p=rivals.P,
        min_support=rivals.SHARE,
        ignore_index=rivals.IGNORED,
        backend=cast(Backend, backend),
    )


def _after_upsampling(criterion: Criterion) -> Criterion:
    def upsampled(logits: Tensor, target: Tensor) -> Tensor:
        size = target.shape[1:]
        return criterion(
            F.interpolate(logits, size=size, mode="bilinear", align_corners=False), target
        )

    return upsampled


def _refusal(name: str, criterion: Criterion, logits: Tensor, target: Tensor) -> str | None:
    """Why what is not ours does not run here: not installed, no compiler, no GPU, no memory."""
    if name == "liger":
        if not logits.is_cuda:
            return "needs a GPU"
        if find_spec("liger_kernel") is None:
            return "liger-kernel is not installed"
    try:
        criterion(logits, target).backward()
    except RuntimeError as error:
        return str(error).strip().split("\n")[0]
    return None
