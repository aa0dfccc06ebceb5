"""The losses of logits of the target's size, which are read once.

The gradient is in :mod:`lossmaxpool.ops.backends.triton.dense_gradient`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import Planes, Strides, by_form, merged_planes
from lossmaxpool.ops.backends.triton.cross_entropy import (
    IGNORED,
    Numbers,
    Terms,
    absorb,
    as_label,
    class_weights,
    pixel_loss,
    spread_sum,
)
from lossmaxpool.ops.backends.triton.launch import Launch, on_device_of
from lossmaxpool.ops.backends.triton.solver import tally


class KernelTile(NamedTuple):
    """A block of classes by pixels, and the number of warps that process it."""

    classes: int  # a power of two
    full: int  # number of classes covered by whole blocks; the rest is the tail
    tail: int  # a power of two >= C - full, or 0
    pixels: int
    warps: int

    @property
    def options(self) -> dict[str, int]:
        """The tile as constants of a kernel."""
        return {"BLOCK_C": self.classes, "FULL": self.full, "TAIL": self.tail,
                "BLOCK_N": self.pixels, "num_warps": self.warps}  # fmt: skip


def unit_of(view: Planes) -> int:
    """The largest power of two up to 16 that divides the size and the offset of every plane.

    The compiler only knows whether 16 divides an argument. Planes of 550 x 550 pixels start at
    multiples of 4; with sizes counted in units, it can read 4 pixels at a time.
    """
    if not view.flat or any(s.column != 1 for s in view.strides):
        return 1
    places = (size for s in view.strides for size in (s.image, s.channel))
    return math.gcd(16, view.width, *places)


def is_apart(strides: Strides) -> bool:
    """Whether the classes of a pixel are neighbors in memory and no multiple of 16 of them.

    The compiler would put lanes along the classes, which it can read one by one only, and exchange
    data between threads for every maximum and sum. It is led to put them along the pixels by the
    claim that these are contiguous. That is false, and only chooses the layout: the compiler widens
    an access if it knows the divisibility of its offset, and it knows that of multiples of 16 only.
    """
    return strides.channel == 1 and strides.column % 16 not in (0, 1)


def tile_of(classes: int, dtype: torch.dtype, unit: int) -> KernelTile:
    """The tile of the kernels that stream dense logits, a function of (C, dtype, unit) alone.

    A thread reads up to 16 bytes along the pixels and holds all classes of a block for them, so
    that maxima and sums stay within a thread: pixels = 32 lanes x pixels per thread x warps. A
    block has as many classes as keep up to 64 numbers per thread in flight. The remaining classes
    form a smaller block: C = 19 costs 16 + 4 rows of arithmetic, not 32.

    Args:
        classes: C.
        dtype: of the logits.
        unit: how many neighboring pixels a thread can read at once in this layout.
    """
    vector = min(16 // dtype.itemsize, unit)
    warps = 4 if vector <= 4 else 2
    block = min(16, 64 // vector, triton.next_power_of_2(classes))
    full = classes // block * block
    tail = triton.next_power_of_2(classes - full) if classes > full else 0
    return KernelTile(block, full, tail, 32 * vector * warps, warps)


@triton.jit
def pixel_places(
    tile, stride_h, stride_w, width, height,
    UNIT: tl.constexpr, FLAT: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The tile's pixels: their indices in the image, offsets in a plane, and which are inside."""
    n = tile.to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    if FLAT:
        return n, n * stride_w, n < width * UNIT
    return n, (n // width) * stride_h + (n % width) * stride_w, n < height * width


@triton.jit
def load_block(
    pixels, first, stride_c, inside, C: tl.constexpr, BLOCK_C: tl.constexpr, APART: tl.constexpr
):
    """Logits (classes, pixels) in float32 from class ``first`` on, -inf beyond C."""
    classes = first + tl.arange(0, BLOCK_C)
    known = classes < C
    places = pixels[None, :] + (classes.to(tl.int64) * stride_c)[:, None]
    if APART:
        places = tl.max_contiguous(places, [1, 16])
    x = tl.load(places, mask=known[:, None] & inside[None, :], other=float("-inf"))
    return x.to(tl.float32), classes, known


@triton.jit
def class_sums(
    pixels, weight, own, stride_c, inside,
    C: tl.constexpr, APART: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    BLOCK_C: tl.constexpr, FULL: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Maximum and sum of exponentials of each pixel's logits, and the sum for label smoothing."""
    peak = tl.full([BLOCK_N], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_N], tl.float32)
    smoothed = tl.zeros([BLOCK_N], tl.float32)
    for first in range(0, FULL, BLOCK_C):
        x, classes, known = load_block(pixels, first, stride_c, inside, FULL, BLOCK_C, APART)
        peak, total = absorb(x, peak, total)
        if SMOOTH:
            weights = class_weights(weight, classes, known, WEIGHTED)
            smoothed += spread_sum(x, known[:, None], weights[:, None], own[None, :])
    if TAIL > 0:
        rest, classes_left, known_left = load_block(pixels, FULL, stride_c, inside, C, TAIL, APART)
        peak, total = absorb(rest, peak, total)
        if SMOOTH:
            weights_left = class_weights(weight, classes_left, known_left, WEIGHTED)
            smoothed += spread_sum(rest, known_left[:, None], weights_left[:, None], own[None, :])
    return peak, total, smoothed


@triton.jit(do_not_specialize=["ignore_index", "tiles", "images_per_pool"])
def dense_losses_kernel(
    logits, target, weight, weight_sum, losses, totals,  # (B, C, H, W), (B, N), (C,), (), (B, N)
    ignore_index, keep, spread, images_per_pool,
    stride_b, stride_c, stride_h, stride_w, width, height, tiles,
    C: tl.constexpr, UNIT: tl.constexpr, FLAT: tl.constexpr, APART: tl.constexpr,
    HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    BLOCK_C: tl.constexpr, FULL: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Program: one tile of one image's pixels. Sizes along a flat plane are counted in UNITs.

    With ``totals``, it counts its losses for the solver as well.
    """
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    n, place, inside = pixel_places(
        program % tiles, stride_h, stride_w, width, height, UNIT, FLAT, BLOCK_N
    )
    row = image * (width * height) * UNIT
    read = tl.load(target + row + n, mask=inside, other=0)
    label, exists, known_label = as_label(read, inside, ignore_index, C)
    # tl.full: an argument of 1 is specialized to a Python integer, which has no `to`.
    stride = tl.full([], stride_c, tl.int64) * UNIT
    pixels = logits + image * stride_b * UNIT + place
    own = tl.load(pixels + label * stride, mask=inside, other=0.0).to(tl.float32)
    peak, total, smoothed = class_sums(
        pixels, weight, own, stride, inside, C, APART, SMOOTH, WEIGHTED,
        BLOCK_C, FULL, TAIL, BLOCK_N,
    )  # fmt: skip
    loss = pixel_loss(
        peak, total, own, smoothed, weight, weight_sum, label, keep, spread, C,
        HARD, SMOOTH, WEIGHTED,
    )  # fmt: skip
    loss = tl.where(known_label, loss, float("nan"))
    tl.store(losses + row + n, tl.where(exists, loss, IGNORED), mask=inside)
    if totals is not None:
        tally(totals, image // images_per_pool, loss, exists)


def dense_losses(logits: Tensor, target: Tensor, ignore_index: int, loss: Terms) -> Tensor:
    """(B, C, *spatial) logits, contiguous (B, *spatial) target -> (B, *spatial) float32 losses."""
    losses = torch.empty(target.shape, dtype=torch.float32, device=logits.device)
    if losses.numel() == 0:
        return losses
    launch = losses_launch(logits, target, ignore_index, loss.numbers, 1)
    with on_device_of(logits):
        launch(logits, target, loss.weight, loss.weight_sum, losses, None)
    return losses


@by_form(tensors=2)
def losses_launch(
    logits: Tensor, target: Tensor, ignore_index: int, loss: Numbers, pools: int
) -> Launch:
    view = planes_of(logits)
    classes, (strides,), unit = logits.shape[1], view.strides, unit_of(view)
    tile = tile_of(classes, logits.dtype, unit)
    tiles = triton.cdiv(view.height * view.width, tile.pixels)
    return Launch(
        dense_losses_kernel, (tiles * logits.shape[0],),
        ignore_index, loss.keep, loss.spread, logits.shape[0] // pools,
        strides.image // unit, strides.channel // unit, strides.row, strides.column,
        view.width // unit, view.height, tiles,
        C=classes, UNIT=unit, FLAT=view.flat, APART=is_apart(strides), **loss.flags, **tile.options,
    )  # fmt: skip


def planes_of(*tensors: Tensor) -> Planes:
    """The two spatial dimensions into which those of the tensors merge."""
    view = merged_planes(*tensors)
    if view is None:
        raise ValueError(f"strides {tensors[0].stride()} do not merge into two spatial dimensions.")
    return view
