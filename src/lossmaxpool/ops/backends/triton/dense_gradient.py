"""The gradient of logits of the target's size, which are read and written once.

Logits in channels_last order are one row of numbers for an image, C after C. Read and written in
that order, 16 bytes at a time, they form no block of classes by pixels unless C is a power of two.
So a program computes what the classes of a pixel share, and every thread fetches it for the two
pixels, at most, that its neighboring numbers belong to.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import Planes, by_form
from lossmaxpool.ops.backends.triton.cross_entropy import (
    Numbers,
    Terms,
    as_label,
    class_derivative,
    class_weights,
    margin,
    slopes,
)
from lossmaxpool.ops.backends.triton.dense import (
    KernelTile,
    class_sums,
    is_apart,
    load_block,
    pixel_places,
    planes_of,
    tile_of,
    unit_of,
)
from lossmaxpool.ops.backends.triton.launch import Launch, on_device_of
from lossmaxpool.ops.backends.triton.solver import REDUCTIONS, grad_of_pool, row_lanes
from lossmaxpool.ops.backends.triton.weights import Norm, load_pool, pool_weight

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def pixel_terms(
    grad_value, packed, pixels, target, weight, weight_sum, losses, n, inside, stride_c,
    ignore_index, keep, spread, exponent, pools, pool,
    C: tl.constexpr, APART: tl.constexpr, NORM: tl.constexpr,
    ROWS: tl.constexpr, REDUCTION: tl.constexpr,
    HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    BLOCK_C: tl.constexpr, FULL: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The terms of the gradient that the classes of a pixel share.

    The label, whether the pixel exists, its own logit, lse - own logit, the factor of the
    derivative, and the two factors in it.
    """
    read = tl.load(target + n, mask=inside, other=0)
    label, exists, _ = as_label(read, inside, ignore_index, C)
    threshold, cap, scale = load_pool(packed, pool, pools, exponent, NORM)
    loss = tl.load(losses + n, mask=inside, other=0.0)
    share = grad_of_pool(grad_value, packed, pools, pool, ROWS, REDUCTION)
    share *= pool_weight(loss, threshold, cap, scale, exponent, NORM)

    own = tl.load(pixels + label * stride_c, mask=inside, other=0.0).to(tl.float32)
    if SMOOTH or WEIGHTED:
        peak, total, _ = class_sums(
            pixels, weight, own, stride_c, inside, C, APART, False, False,
            BLOCK_C, FULL, TAIL, BLOCK_N,
        )  # fmt: skip
        gap = margin(peak, total, own)
    else:
        gap = loss
    keep_own, factor, common = slopes(
        weight, weight_sum, label, keep, spread, C, HARD, SMOOTH, WEIGHTED
    )
    return label, exists, own, gap, share * common, keep_own, factor


@triton.jit
def write_block(
    outputs, x, classes, known, weight, own, gap, label, exists, share, keep_own, factor, spread,
    stride_c, inside, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    """Write the gradient of a block of logits (classes, pixels).

    It selects instead of multiplying by 0, since NaN * 0 is NaN.
    """
    slope = class_derivative(
        tl.exp((x - own[None, :]) - gap[None, :]), classes[:, None] == label[None, :],
        class_weights(weight, classes, known, WEIGHTED)[:, None],
        keep_own[None, :], factor[None, :], spread, SMOOTH,
    )  # fmt: skip
    slope = tl.where(exists[None, :], share[None, :] * slope, 0.0)
    places = outputs[None, :] + (classes.to(tl.int64) * stride_c)[:, None]
    mask = known[:, None] & inside[None, :]
    tl.store(places, slope.to(outputs.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["ignore_index", "tiles", "pools", "images_per_pool"])
def dense_gradient_kernel(
    grad_value, packed, logits, target, weight, weight_sum, losses, gradient,
    ignore_index, keep, spread, exponent, pools, images_per_pool,
    stride_b, stride_c, stride_h, stride_w, out_b, out_c, out_h, out_w, width, height, tiles,
    C: tl.constexpr, UNIT: tl.constexpr, FLAT: tl.constexpr, NORM: tl.constexpr,
    ROWS: tl.constexpr, REDUCTION: tl.constexpr,
    HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    BLOCK_C: tl.constexpr, FULL: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Program: one tile of one image's pixels. Sizes along a flat plane are counted in UNITs."""
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    n, place, inside = pixel_places(
        program % tiles, stride_h, stride_w, width, height, UNIT, FLAT, BLOCK_N
    )
    n, out_place, inside = pixel_places(
        program % tiles, out_h, out_w, width, height, UNIT, FLAT, BLOCK_N
    )
    n += image * (width * height) * UNIT
    stride = tl.full([], stride_c, tl.int64) * UNIT
    out_stride = tl.full([], out_c, tl.int64) * UNIT
    pixels = logits + image * stride_b * UNIT + place
    outputs = gradient + image * out_b * UNIT + out_place
    label, exists, own, gap, share, keep_own, factor = pixel_terms(
        grad_value, packed, pixels, target, weight, weight_sum, losses, n, inside, stride,
        ignore_index, keep, spread, exponent, pools, image // images_per_pool,
        C, False, NORM, ROWS, REDUCTION, HARD, SMOOTH, WEIGHTED, BLOCK_C, FULL, TAIL, BLOCK_N,
    )  # fmt: skip
    for first in range(0, FULL, BLOCK_C):
        x, classes, known = load_block(pixels, first, stride, inside, FULL, BLOCK_C, False)
        write_block(
            outputs, x, classes, known, weight, own, gap, label, exists, share, keep_own, factor,
            spread, out_stride, inside, SMOOTH, WEIGHTED,
        )  # fmt: skip
    if TAIL > 0:
        rest, classes_left, known_left = load_block(pixels, FULL, stride, inside, C, TAIL, False)
        write_block(
            outputs, rest, classes_left, known_left, weight, own, gap, label, exists, share,
            keep_own, factor, spread, out_stride, inside, SMOOTH, WEIGHTED,
        )  # fmt: skip


@triton.jit
def pair(high, low):
    """Two numbers of 32 bits as one of 64, which takes one exchange between threads."""
    high, low = high.to(tl.int32, bitcast=True), low.to(tl.int32, bitcast=True)
    return (high.to(tl.int64) << 32) | (low.to(tl.int64) & 0xFFFFFFFF)


@triton.jit
def fetch(pairs, pixels, second, RUNS: tl.constexpr):
    """The two float32 numbers at (runs, RUN) logits, of the ``second`` pixel of a run or the first.

    ``pixels`` are the first and the second of every run.
    """
    one, other = tl.split(tl.reshape(tl.gather(pairs, pixels, 0), [RUNS, 2]))
    high = tl.where(second, (other >> 32).to(tl.int32)[:, None], (one >> 32).to(tl.int32)[:, None])
    low = tl.where(second, other.to(tl.int32)[:, None], one.to(tl.int32)[:, None])
    return high.to(tl.float32, bitcast=True), low.to(tl.float32, bitcast=True)


@triton.jit(do_not_specialize=["ignore_index", "tiles", "pools", "images_per_pool"])
def interleaved_gradient_kernel(
    grad_value, packed, logits, target, weight, weight_sum, losses, gradient,
    ignore_index, keep, spread, exponent, pools, images_per_pool, units, tiles,
    C: tl.constexpr, UNIT: tl.constexpr, APART: tl.constexpr, NORM: tl.constexpr,
    ROWS: tl.constexpr, REDUCTION: tl.constexpr,
    HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr, BLOCK_C: tl.constexpr,
    FULL: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr, RUN: tl.constexpr,
    RUNS: tl.constexpr,
):  # fmt: skip
    """Program: the logits of BLOCK_N pixels of an image, RUNS x RUN at a time.

    An image has UNIT x ``units`` logits.
    """
    program = tl.program_id(0)
    image = (program // tiles).to(tl.int64)
    size = tl.full([], units, tl.int64) * UNIT
    first = (program % tiles).to(tl.int64) * (BLOCK_N * C)
    left = tl.minimum(size - first, BLOCK_N * C).to(tl.int32)
    start = image * size + first
    n = tl.arange(0, BLOCK_N)
    label, exists, own, gap, share, keep_own, factor = pixel_terms(
        grad_value, packed, logits + start + n * C, target, weight, weight_sum, losses,
        start // C + n, n * C < left, tl.full([], 1, tl.int64),
        ignore_index, keep, spread, exponent, pools, image // images_per_pool,
        C, APART, NORM, ROWS, REDUCTION, HARD, SMOOTH, WEIGHTED, BLOCK_C, FULL, TAIL, BLOCK_N,
    )  # fmt: skip
    origins = pair(own, gap * LOG2_E)
    shares = pair(share, tl.where(exists, n * C + label.to(tl.int32), -1))
    if SMOOTH:
        factors = pair(keep_own, factor)
    for begin in range(0, BLOCK_N * C, RUNS * RUN):
        run = begin + tl.arange(0, RUNS) * RUN
        one = tl.minimum(run // C, BLOCK_N - 1)
        pixels = tl.reshape(tl.join(one, tl.minimum(one + 1, BLOCK_N - 1)), [2 * RUNS])
        place = run[:, None] + tl.arange(0, RUN)[None, :]
        second = place >= ((one + 1) * C)[:, None]
        inside = place < left
        x = tl.load(logits + start + place, mask=inside, other=0.0).to(tl.float32)
        origin, less = fetch(origins, pixels, second, RUNS)
        by, bits = fetch(shares, pixels, second, RUNS)
        hit = bits.to(tl.int32, bitcast=True)
        keep_hit, times, weights = by, by, by  # not used without smoothing
        if SMOOTH:
            keep_hit, times = fetch(factors, pixels, second, RUNS)
            weights = class_weights(weight, place % C, inside, WEIGHTED)
        slope = class_derivative(
            tl.exp2((x - origin) * LOG2_E - less), place == hit, weights, keep_hit, times, spread,
            SMOOTH,
        )  # fmt: skip
        slope = tl.where(hit >= 0, by * slope, 0.0)
        tl.store(gradient + start + place, slope.to(gradient.dtype.element_ty), mask=inside)


def dense_gradient(
    grad_value: Tensor,
    logits: Tensor,
    target: Tensor,
    losses: Tensor,
    packed: Tensor,
    gradient: Tensor,
    ignore_index: int,
    loss: Terms,
    shape: Norm,
    reduction: str,
) -> None:
    """Write the gradient of the logits, in their strides; target, losses contiguous."""
    if gradient.numel() == 0:
        return
    launch = gradient_launch(
        logits, target, gradient, ignore_index, loss.numbers, shape, packed.shape[1], reduction
    )
    with on_device_of(logits):
        launch(grad_value, packed, logits, target, loss.weight, loss.weight_sum, losses, gradient)


@by_form(tensors=3)
def gradient_launch(
    logits: Tensor,
    target: Tensor,
    gradient: Tensor,
    ignore_index: int,
    loss: Numbers,
    shape: Norm,
    pools: int,
    reduction: str,
) -> Launch:
    view, batch, classes = planes_of(logits, gradient), *logits.shape[:2]
    source, out = view.strides
    numbers = (ignore_index, loss.keep, loss.spread, shape.exponent, pools, batch // pools)
    constants = {
        "C": classes, "NORM": shape.kind, "ROWS": row_lanes(pools, reduction),
        "REDUCTION": REDUCTIONS.index(reduction), **loss.flags,
    }  # fmt: skip
    if is_interleaved(view, batch, classes):
        unit = math.gcd(16, view.width * classes)
        tile, run = interleaved_tile(classes, logits.dtype, unit)
        tiles = triton.cdiv(view.width, tile.pixels)
        return Launch(
            interleaved_gradient_kernel, (tiles * batch,),
            *numbers, view.width * classes // unit, tiles, UNIT=unit, APART=is_apart(source),
            RUN=run, RUNS=1024 // run, **constants, **tile.options,
        )  # fmt: skip
    unit = unit_of(view)
    tile = tile_of(classes, logits.dtype, unit)
    tiles = triton.cdiv(view.height * view.width, tile.pixels)
    return Launch(
        dense_gradient_kernel, (tiles * batch,),
        *numbers, source.image // unit, source.channel // unit, source.row, source.column,
        out.image // unit, out.channel // unit, out.row, out.column,
        view.width // unit, view.height, tiles,
        UNIT=unit, FLAT=view.flat, **constants, **tile.options,
    )  # fmt: skip


def is_interleaved(view: Planes, batch: int, classes: int) -> bool:
    """Whether all tensors are in channels_last order without gaps."""
    steps = {(s.channel, s.column) for s in view.strides}
    images = {s.image for s in view.strides} if batch > 1 else {view.width * classes}
    return view.flat and steps == {(1, classes)} and images == {view.width * classes}


def interleaved_tile(classes: int, dtype: torch.dtype, unit: int) -> tuple[KernelTile, int]:
    """The pixels of a program, and the neighboring logits that a thread reads at once."""
    run = min(16 // dtype.itemsize, unit, 1 << (classes.bit_length() - 1))
    pixels = max(512, triton.next_power_of_2(1024 // classes))
    return tile_of(classes, dtype, 1)._replace(pixels=pixels), run
