from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool.models import full_size_logits


def test_sizes_that_need_no_padding_are_a_plain_upsampling() -> None:
    images = torch.rand(2, 3, 32, 48)
    low = F.avg_pool2d(images, 4)
    expected = F.interpolate(low, size=(32, 48), mode="bilinear", align_corners=False)
    assert torch.equal(full_size_logits(lambda x: F.avg_pool2d(x, 4), images, 16), expected)


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (90, 120), (16, 17)])
def test_padding_shifts_nothing(size: tuple[int, int]) -> None:
    """A ramp comes back as the same ramp: no half pixel lost, no stretch over the padding."""
    seen: list[tuple[int, ...]] = []

    def network(images: Tensor) -> Tensor:
        seen.append(tuple(images.shape[-2:]))
        return F.avg_pool2d(images, 4)

    H, W = size
    rows = torch.arange(H, dtype=torch.float32).view(1, 1, H, 1).expand(1, 3, H, W)
    logits = full_size_logits(network, rows, 16)
    assert logits.shape == (1, 3, H, W)
    assert seen[0][0] % 16 == 0 and seen[0][1] % 16 == 0  # noqa: PT018
    inner = slice(2, H // 4 * 4 - 6), slice(0, W // 4 * 4 - 6)
    torch.testing.assert_close(logits[0, 0][inner], rows[0, 0][inner])


def test_low_precision_is_upsampled_in_float32() -> None:
    logits = full_size_logits(lambda x: F.avg_pool2d(x, 4).bfloat16(), torch.rand(1, 3, 8, 8), 4)
    assert logits.dtype == torch.float32
