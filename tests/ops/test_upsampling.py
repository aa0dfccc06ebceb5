"""Strips of torch's own interpolation, and its transpose."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lossmaxpool.ops.upsampling import Upsampling

SIZES = [
    ((6,), (23,), "linear"),
    ((5, 6), (40, 48), "bilinear"),
    ((7, 3), (19, 17), "bilinear"),
    ((1, 4), (9, 4), "bilinear"),
    ((4, 1), (4, 11), "bilinear"),
    ((4, 5), (4, 5), "bilinear"),
    ((2, 3, 4), (5, 6, 7), "trilinear"),
]


@pytest.mark.parametrize(("low", "high", "mode"), SIZES)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_strips_are_the_rows_of_the_interpolation(
    low: tuple[int, ...], high: tuple[int, ...], mode: str, rows: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *low, dtype=torch.float64, generator=generator)
    leaf = logits.clone().requires_grad_()
    scores = F.interpolate(leaf, size=high, mode=mode, align_corners=False)
    upsampling = Upsampling(torch.Size(low), torch.Size(high), logits.device, logits.dtype)
    upstream = torch.randn(scores.shape, dtype=torch.float64, generator=generator)
    ours = torch.zeros_like(logits)
    for start in range(0, high[0], rows):
        stop = min(start + rows, high[0])
        strip = upsampling.strip(logits, start, stop)
        torch.testing.assert_close(strip, scores[:, :, start:stop].detach())
        upsampling.add_transposed(upstream[:, :, start:stop], ours, start, stop)
    (truth,) = torch.autograd.grad(scores, leaf, upstream)
    torch.testing.assert_close(ours, truth)


@pytest.mark.parametrize("out", [8, 15, 551, 2048])
def test_positions_are_those_of_float32_interpolation(out: int) -> None:
    ramp = torch.arange(7.0).view(1, 1, 7)
    truth = F.interpolate(ramp, size=out, mode="linear", align_corners=False)
    upsampling = Upsampling(torch.Size([7]), torch.Size([out]), ramp.device, ramp.dtype)
    torch.testing.assert_close(upsampling.strip(ramp, 0, out), truth)
