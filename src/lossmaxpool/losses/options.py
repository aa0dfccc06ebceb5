"""Options that several losses share, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from lossmaxpool.checks import check_choice

Implementation = Literal["auto", "torch", "triton"]
Weight = Tensor | Sequence[float] | None


def check_implementation(implementation: Implementation) -> None:
    """Refuse a word that is no implementation, and one that cannot run here."""
    check_choice("implementation", implementation, get_args(Implementation))
    if implementation == "triton":
        raise RuntimeError(
            'implementation="triton" cannot run: this version has no Triton kernels. '
            'Use "auto" or "torch".'
        )


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
