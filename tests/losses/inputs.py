"""Logits and targets as a network in mid-training gives them; every test draws from here."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORE = 255


def labelled(
    *shape: int, seed: int = 0, ignored: float = 0.0, margin: float = 3.0
) -> tuple[Tensor, Tensor]:
    """Logits (B, C, *spatial) float32 whose true class leads by about ``margin``, and class ids.

    ``ignored`` is the share of pixels that hold IGNORE.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(*shape, generator=generator)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    lead = torch.full((*target.shape,), margin).unsqueeze(1)
    logits = logits.scatter_add(1, target.unsqueeze(1), lead)
    gone = torch.rand(target.shape, generator=generator) < ignored
    return logits, target.masked_fill(gone, IGNORE)


def binary(*shape: int, seed: int = 0, ignored: float = 0.0) -> tuple[Tensor, Tensor]:
    """Scores float32 of ``shape`` that mostly point to their 0/1 labels, int64, and those."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, shape, generator=generator)
    scores = 2 * torch.randn(*shape, generator=generator) + 3 * (2 * labels - 1)
    gone = torch.rand(shape, generator=generator) < ignored
    return scores, labels.masked_fill(gone, IGNORE)


def padded(logits: Tensor, target: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """The same images with ``pixels`` ignored columns behind the last spatial dimension."""
    beyond = 30 * torch.randn(
        *logits.shape[:-1], pixels, generator=torch.Generator().manual_seed(1)
    )
    ids = target.new_full((*target.shape[:-1], pixels), IGNORE)
    return torch.cat([logits, beyond.to(logits.dtype)], -1), torch.cat([target, ids], -1)
