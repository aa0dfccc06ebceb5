"""Looks at the losses themselves, where a look does not make the host wait for a device."""

from __future__ import annotations

import torch
from torch import Tensor

_SHOWN = 3


def refuse_unsound(losses: Tensor, valid: Tensor | None) -> None:
    """Raise ValueError if a valid loss is NaN, infinite or negative. Losses (B, N)."""
    sound = (losses >= 0) & (losses < torch.inf)
    if valid is not None:
        sound |= ~valid
    if not bool(sound.all()):
        raise ValueError(
            _describe(losses, ~sound)
            + " Expected finite losses >= 0: check the pixel loss and its input, or exclude "
            "these pixels with valid=."
        )


def refuse_negative(losses: Tensor, valid: Tensor | None) -> None:
    """Raise ValueError if a valid loss is negative; a NaN passes, to come out as NaN."""
    negative = losses < 0
    if valid is not None:
        negative &= valid
    if bool(negative.any()):
        raise ValueError(
            _describe(losses, negative)
            + " Loss max-pooling is defined for losses >= 0 (Rota Bulò et al. 2017, Sect. 2): "
            "check the pixel loss, or shift it to be non-negative."
        )


def _describe(losses: Tensor, wrong: Tensor) -> str:
    """How many losses are wrong, of which kind, and where the first ones are."""
    places = wrong.nonzero()[:_SHOWN].tolist()
    shown = ", ".join(f"{losses[b, i].item()!r} at image {b}, pixel {i}" for b, i in places)
    kinds = {
        "NaN": losses.isnan(),
        "infinite": losses.isinf() & (losses > 0),
        "negative": losses < 0,
    }
    counts = [f"{int((wrong & kind).sum())} {name}" for name, kind in kinds.items()]
    found = ", ".join(c for c in counts if not c.startswith("0 "))
    return f"{found} among {losses.numel()} losses: {shown}."
