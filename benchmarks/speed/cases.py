"""The inputs that the losses are measured on, and the bytes that no loss can avoid moving.

B images, C classes, H x W pixels, N = H * W.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from tests.cases import LOSS_FAMILIES
from torch import Tensor

Kind = Literal["dense", "upsampling", "solver", "scaling"]
Malloc = Literal["default", "pinned"]

SCALE = 8  # of the upsampling cases
ONE_IMAGE = 302_500  # 550 x 550
SIZES = tuple(2**exponent for exponent in range(16, 27, 2))
# A smoke test takes the cases of the real run, this many times smaller along every side.
QUICK_SHRINK = 4


@dataclass(frozen=True)
class Case:
    """One measurement: what is computed, on which shape, under which allocator.

    The solver's cases have neither classes nor a second dimension: C = H = 1, W = n losses.
    """

    kind: Kind
    shape: tuple[int, int, int, int]  # (B, C, H, W) of the target's size
    dtype: str = "float32"
    malloc: Malloc = "default"

    @property
    def name(self) -> str:
        """Names the case among all of a run."""
        shape = "x".join(map(str, self.shape))
        return f"{self.kind} {shape} {self.dtype} {self.malloc}"

    @property
    def low(self) -> tuple[int, int, int, int]:
        """(B, C, h, w): the shape of the logits as the loss gets them."""
        b, c, h, w = self.shape
        return (b, c, h // SCALE, w // SCALE) if self.kind == "upsampling" else self.shape

    @property
    def logits_bytes(self) -> int:
        """Bytes of the logits as the loss gets them."""
        b, c, h, w = self.low
        return b * c * h * w * getattr(torch, self.dtype).itemsize

    @property
    def floor_bytes(self) -> int:
        """Bytes that loss max-pooling has to move, forward and backward.

        Three passes over the logits (read, read, write the gradient); per pixel the int64 target
        twice, the float32 loss written, read by the solver (twice) and read backward.
        """
        b, _, h, w = self.shape
        return 3 * self.logits_bytes + b * h * w * (2 * 8 + 4 * 4)


def cases(device: str, *, quick: bool) -> Iterator[Case]:
    """All cases of a run on "cpu" or "cuda"."""
    all_cases = _on_cuda() if device == "cuda" else _on_cpu()
    for case in all_cases:
        if not quick:
            yield case
        elif case.kind != "scaling" or case.shape[3] < SIZES[-2]:
            yield _shrunk(case)


def _on_cpu() -> Iterator[Case]:
    yield Case("dense", (2, 19, 550, 550))
    yield Case("dense", (2, 19, 550, 550), malloc="pinned")
    yield Case("upsampling", (2, 19, 544, 544))
    yield Case("upsampling", (2, 150, 544, 544))
    yield from _without_logits()


def _on_cuda() -> Iterator[Case]:
    for dtype in ("float32", "bfloat16"):
        yield Case("dense", (2, 19, 550, 550), dtype)
        yield Case("dense", (16, 19, 1024, 1024), dtype)
        yield Case("dense", (16, 150, 512, 512), dtype)
        yield Case("upsampling", (16, 19, 1024, 1024), dtype)
        yield Case("upsampling", (16, 150, 512, 512), dtype)
    yield from _without_logits()


def _without_logits() -> Iterator[Case]:
    yield Case("solver", (1, 1, 1, ONE_IMAGE))
    for n in SIZES:
        yield Case("scaling", (1, 1, 1, n))


def _shrunk(case: Case) -> Case:
    b, c, h, w = case.shape
    if case.kind in ("solver", "scaling"):
        return replace(case, shape=(b, c, h, w // QUICK_SHRINK))
    side = h // QUICK_SHRINK // SCALE * SCALE
    return replace(case, shape=(min(b, 2), c, side, side))


def logits_and_target(case: Case, device: torch.device) -> tuple[Tensor, Tensor]:
    """Low (B, C, h, w) logits of a network in mid-training, and their (B, H, W) target.

    Most pixels are right by a margin, a tail is wrong. With upsampling the target is made of
    blocks, as the logits cannot know more.
    """
    b, c, h, w = case.low
    generator = torch.Generator(device).manual_seed(0)
    blocks = torch.randint(0, c, (b, h, w), generator=generator, device=device)
    logits = torch.randn(b, c, h, w, generator=generator, device=device)
    margin = 6 + 3 * torch.randn(b, 1, h, w, generator=generator, device=device)
    logits.scatter_add_(1, blocks.unsqueeze(1), margin)
    repeats = case.shape[2] // h
    target = blocks.repeat_interleave(repeats, 1).repeat_interleave(repeats, 2)
    return logits.to(getattr(torch, case.dtype)).requires_grad_(), target


def pixel_losses(case: Case, device: torch.device) -> Tensor:
    """(B, n) losses: of a trained network for the solver's case, heavy-tailed for the scaling."""
    b, _, _, n = case.shape
    family = "trained_ce" if case.kind == "solver" else "lognormal"
    drawn = LOSS_FAMILIES[family](np.random.default_rng(0), b * n)
    losses = torch.from_numpy(drawn).view(b, n)
    return losses.to(device, getattr(torch, case.dtype)).requires_grad_()
