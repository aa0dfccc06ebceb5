"""Options that several losses share, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from lossmaxpool.checks import check_choice, check_norm, check_share
from lossmaxpool.functional import Pool, Reduction
from lossmaxpool.ops.fused.choice import Backend, absence

Weight = Tensor | Sequence[float] | None


class PooledLoss(nn.Module):
    """A loss of pixels that are pooled: what shares one weighting, and how pools are reduced."""

    def __init__(self, pool: Pool, reduction: Reduction) -> None:
        super().__init__()
        check_choice("pool", pool, get_args(Pool))
        check_choice("reduction", reduction, get_args(Reduction))
        self.pool: Pool = pool
        self.reduction: Reduction = reduction

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self._shown()]
        return ", ".join([*shown, f"pool={self.pool!r}, reduction={self.reduction!r}"])

    def _shown(self) -> tuple[str, ...]:
        """The parameters of the weighting set."""
        return ("p", "min_support")


class LabelledLoss(PooledLoss):
    """A pooled loss of logits and labels, and the options that such losses share."""

    weight: Tensor | None
    _has_kernels = True

    def __init__(
        self,
        weight: Weight,
        ignore_index: int,
        label_smoothing: float,
        pool: Pool,
        reduction: Reduction,
        backend: Backend,
    ) -> None:
        super().__init__(pool, reduction)
        check_ignore_index(ignore_index)
        check_smoothing(label_smoothing)
        check_backend(backend, kernels=self._has_kernels)
        self.register_buffer("weight", as_weight("weight", weight))
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.backend: Backend = backend


def check_backend(backend: Backend, *, kernels: bool) -> None:
    """Refuse a word that is no backend, and one that can never run here."""
    check_choice("backend", backend, get_args(Backend))
    if backend in ("auto", "torch"):
        return
    reason = absence(backend) if kernels else "this loss is computed by torch alone"
    if reason is not None:
        raise RuntimeError(f'backend="{backend}" cannot run: {reason}. Use "auto" or "torch".')


def check_weighting_set(p: float, min_support: float) -> None:
    """Refuse parameters of no weighting set; again at every call, for schedules change them."""
    check_norm(p)
    check_share("min_support", min_support)


def check_smoothing(label_smoothing: float) -> None:
    """Refuse a label smoothing outside [0, 1]."""
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing!r}.")


def check_ignore_index(ignore_index: object) -> None:
    """Refuse an ignore_index that no label can equal."""
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, int):
        raise ValueError(
            f"ignore_index must be an integer label, got {ignore_index!r}: 255 is the usual one; "
            "leave it out where every pixel is labelled."
        )


def as_weight(name: str, weight: Weight) -> Tensor | None:
    """Class weights as a float tensor, from a tensor or any sequence; None stays None."""
    if weight is None:
        return None
    tensor = torch.as_tensor(weight)
    if not tensor.is_floating_point():
        tensor = tensor.float()
    if not bool(((tensor >= 0) & (tensor < torch.inf)).all()):
        raise ValueError(
            f"{name} must be finite and >= 0, got {tensor.tolist()}: a negative weight would "
            "make losses negative."
        )
    return tensor.detach()
