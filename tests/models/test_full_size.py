from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lossmaxpool.models import full_size_logits
from lossmaxpool.models.full_size import STRIP_BYTES, SmallLogits, decide, small_logits

from .largest import Largest


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


SIDE = st.integers(1, 70)


def pooled(stride: int):  # type: ignore[no-untyped-def]
    """A network of stride ``stride`` with five classes, each of another mixture of colors."""
    mixture = torch.tensor(
        [[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.4, 0.6]], dtype=torch.float64
    )

    def network(images: Tensor) -> Tensor:
        return F.conv2d(F.avg_pool2d(images, stride), mixture.to(images.dtype).view(5, 3, 1, 1))

    return network


@given(height=SIDE, width=SIDE, stride=st.sampled_from([1, 2, 4, 8, 16]), seed=st.integers(0, 99))
def test_ids_are_the_largest_of_the_full_size_logits(
    height: int, width: int, stride: int, seed: int
) -> None:
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    small = small_logits(pooled(stride), images, stride)
    ids = decide([small], range(height), range(width))
    logits = full_size_logits(pooled(stride), images, stride)
    chosen = logits.gather(1, ids.long()[:, None])[:, 0]
    # A tie but for rounding may go either way, and nothing else may.
    torch.testing.assert_close(chosen, logits.amax(1))


@given(
    cells=st.integers(1, 9),
    pixels=st.integers(1, 60),
    first=st.integers(0, 59),
    last=st.integers(1, 60),
)
def test_a_strip_is_that_part_of_the_whole(cells: int, pixels: int, first: int, last: int) -> None:
    """At any ratio of cell size to pixel size, mirrored or not."""
    rows = range(min(first, pixels - 1), max(min(last, pixels), min(first, pixels - 1) + 1))
    values = torch.rand(1, 2, cells, cells)
    size = (pixels, pixels)
    expected = F.interpolate(values, size, mode="bilinear", align_corners=False)
    small = SmallLogits(values, cells / pixels, cells / pixels)
    torch.testing.assert_close(small.strip(rows, rows), expected[..., rows, :][..., rows])
    mirrored = SmallLogits(values, cells / pixels, cells / pixels, mirrored_width=pixels)
    torch.testing.assert_close(
        mirrored.strip(rows, rows), expected.flip(-1)[..., rows, :][..., rows]
    )


@pytest.mark.parametrize("size", [(24, 48), (23, 41), (1, 1)])
def test_a_mirrored_view_comes_back_in_place(size: tuple[int, int]) -> None:
    """A network that does not look around sees the same pixels, mirrored or not."""
    images = torch.rand(1, 3, *size)
    rows, columns = range(size[0]), range(size[1])
    plain = small_logits(pooled(1), images, 8).strip(rows, columns)
    mirrored = small_logits(pooled(1), images, 8, mirror=True).strip(rows, columns)
    torch.testing.assert_close(mirrored, plain)


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.25, 2.0])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_scaled_view_shifts_nothing(scale: float, mirror: bool) -> None:
    """A ramp comes back in its place, to a fiftieth of a pixel, but for its ends.

    At ratios that are not whole, the antialiasing filter itself is off by that much.
    """
    ramp = torch.arange(61.0).view(1, 1, 1, 61).expand(1, 3, 47, 61)
    small = small_logits(lambda x: F.avg_pool2d(x, 4)[:, :1], ramp, 4, scale, mirror)
    upsampled = small.strip(range(47), range(61))
    assert (upsampled - ramp)[0, 0, 5:40, 10:50].abs().max() < 0.02


def test_several_views_decide_by_their_mean_probability() -> None:
    sure = SmallLogits(torch.tensor([[[[4.0]], [[0.0]]]]), 1.0, 1.0)
    unsure = SmallLogits(torch.tensor([[[[0.0]], [[1.0]]]]), 1.0, 1.0)
    one = range(1)
    assert decide([unsure], one, one).item() == 1
    assert decide([sure, unsure], one, one).item() == 0
    # The mean of the logits would be ruled by the largest scale of them.
    loud = SmallLogits(torch.tensor([[[[0.0]], [[90.0]]]]), 1.0, 1.0)
    assert decide([sure, sure, loud], one, one).item() == 0


@pytest.mark.parametrize("views", [1, 2])
def test_memory_is_that_of_a_strip_and_not_of_the_image(views: int) -> None:
    """2048 × 1024 pixels of 19 classes: 160 MB of scores, of which 16 MB exist at a time."""
    values = torch.rand(1, 19, 64, 128)
    versions = [SmallLogits(values, 1 / 16, 1 / 16)] * views
    with Largest() as largest:
        ids = decide(versions, range(1024), range(2048))
    assert ids.shape == (1, 1024, 2048)
    assert largest.bytes <= STRIP_BYTES
    assert 4 * 19 * ids.numel() > 9 * STRIP_BYTES


def test_the_measure_itself_sees_what_it_should() -> None:
    with Largest() as largest:
        F.interpolate(torch.rand(1, 2, 4, 4), (64, 64), mode="bilinear")
    assert largest.bytes == 4 * 2 * 64 * 64


def test_more_classes_than_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="the model gives 257 classes"):
        decide([SmallLogits(torch.zeros(1, 257, 2, 2), 1 / 4, 1 / 4)], range(8), range(8))
