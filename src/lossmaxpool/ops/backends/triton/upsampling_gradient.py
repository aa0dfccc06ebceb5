"""The gradient of logits smaller than the target, by cells of :mod:`.upsampling`, without atomics.

1. A thread computes, for the pixels of a row of a cell, what all classes share: the pixel's weight,
   its own logit and its label, stored in the order of the cells. Where the loss is not
   ``lse - own logit``, a launch of the forward kernel computes that first.
2. A program processes cells and a block of classes, one cell per thread. The four corner logits and
   the four gradient sums of the corners stay in registers while it loops over the cell's pixels.
3. Every low-resolution pixel is gathered from its four cells.

The scratch between the launches is for some images at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import by_form
from lossmaxpool.ops.backends.triton.cross_entropy import (
    Numbers,
    Terms,
    class_derivative,
    class_weights,
    slopes,
)
from lossmaxpool.ops.backends.triton.launch import ALIGNMENT, Launch, on_device_of
from lossmaxpool.ops.backends.triton.solver import REDUCTIONS, grad_of_pool, row_lanes
from lossmaxpool.ops.backends.triton.upsampling import (
    THREADS,
    WARPS,
    Geometry,
    axis_fraction,
    axis_start,
    corners_of,
    geometry,
    load_corners,
    load_lanes,
    mix,
    own_logits,
    row_of_cell,
    rows_launch,
    store_lanes,
    with_contiguous_rows,
)
from lossmaxpool.ops.backends.triton.weights import Norm, load_pool, pool_weight

LOG2_E = tl.constexpr(1.4426950408889634)
# 8 classes with four corner logits and four corner sums each; 16 classes would spill.
CLASSES = 8
# Losses, gradient and scratch are at most this share of the three maps of scores that eager torch
# holds at its peak; but the scratch holds one image at least.
SHARE = 0.047


@triton.jit(do_not_specialize=[
    "ignore_index", "pools", "images_per_pool", "first_source", "first_image",
    "low_h", "low_w", "height", "width", "cell_h", "cell_w", "stride_h", "segments", "tiles",
])  # fmt: skip
def terms_kernel(
    grad_value, packed, logits, target, weight, losses, shares, owns, labels,
    ignore_index, keep, exponent, pools, images_per_pool, first_source, first_image,
    stride_b, stride_c, stride_h, low_h, low_w, height, width, cell_h, cell_w, segments, tiles,
    C: tl.constexpr, NORM: tl.constexpr, ROWS: tl.constexpr, REDUCTION: tl.constexpr,
    SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr, INDEX: tl.constexpr,
    ALONG: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Program: some rows of cells of an image -> its pixels' terms (cell_h, cell_w, M).

    The share is the factor of a pixel's derivative; the label of an ignored pixel is -1.
    """
    program = tl.program_id(0)
    pool = ((first_image + program // tiles) // images_per_pool).to(tl.int64)
    local = (program // tiles).to(tl.int64)
    image = first_image + local
    i, j, row, column, _, inside = row_of_cell(
        program % tiles, low_h, low_w, height, width, segments, INDEX, ALONG, BLOCK_M
    )
    y = axis_fraction(i, row, low_h, height)
    x = axis_fraction(j, column[None, :], low_w, width)
    size = tl.full([], height, tl.int64) * width
    ta, tb, tc, td = corners_of(row, column, stride_h, low_h, low_w)
    label, exists, _, own = own_logits(
        logits + (first_source + local) * stride_b, target + image * size, i, j, inside, y, x,
        ta, tb, tc, td, ignore_index, tl.full([], stride_c, INDEX), width, C,
    )  # fmt: skip
    loss = load_lanes(losses + image * size, i[None, :] * width + j, inside, 0.0)
    threshold, cap, scale = load_pool(packed, pool, pools, exponent, NORM)
    share = grad_of_pool(grad_value, packed, pools, pool, ROWS, REDUCTION)
    share *= pool_weight(loss, threshold, cap, scale, exponent, NORM)
    if not SMOOTH:
        share *= keep
        if WEIGHTED:
            share *= tl.load(weight + label)
    cells = tl.full([], low_h + 1, INDEX) * (low_w + 1)
    down = i - axis_start(row, low_h, height)
    along = j - axis_start(column, low_w, width)[None, :]
    slot = ((down * cell_w)[None, :] + along) * cells + (row * (low_w + 1) + column)[None, :]
    first = local * cells * (cell_h * cell_w)
    store_lanes(shares + first, slot, tl.where(exists, share, 0.0), inside)
    store_lanes(owns + first, slot, own, inside)
    store_lanes(labels + first, slot, tl.where(exists, label, -1), inside)


@triton.jit(do_not_specialize=[
    "first_source", "first_gap",
    "low_h", "low_w", "height", "width", "cell_h", "cell_w", "stride_h", "tiles",
])  # fmt: skip
def cells_kernel(
    logits, weight, weight_sum, gaps, shares, owns, labels, corners,
    keep, spread, first_source, first_gap,
    stride_b, stride_c, stride_h, low_h, low_w, height, width, cell_h, cell_w, tiles,
    C: tl.constexpr, HARD: tl.constexpr, SMOOTH: tl.constexpr, WEIGHTED: tl.constexpr,
    INDEX: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Program (tile of cells of an image, block of classes) -> corners (4, C, M) of the image."""
    program = tl.program_id(0)
    local = (program // tiles).to(tl.int64)
    cells = tl.full([], low_h + 1, INDEX) * (low_w + 1)
    cell = tl.full([], program % tiles, INDEX) * BLOCK_M + tl.arange(0, BLOCK_M)
    present = cell < cells
    row, column = cell // (low_w + 1), cell % (low_w + 1)
    classes = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = classes < C
    mask = known[:, None] & present[None, :]
    ta, tb, tc, td = corners_of(row, column, stride_h, low_h, low_w)
    a, b, c, d = load_corners(
        logits + (first_source + local) * stride_b,
        ta[None, :], tb[None, :], tc[None, :], td[None, :],
        (classes * tl.full([], stride_c, INDEX))[:, None], mask,
    )  # fmt: skip
    weights = class_weights(weight, classes, known, WEIGHTED)

    first_i, end_i = axis_start(row, low_h, height), axis_start(row + 1, low_h, height)
    first_j, end_j = axis_start(column, low_w, width), axis_start(column + 1, low_w, width)
    gaps += (first_gap + local) * (tl.full([], height, tl.int64) * width)
    first = local * cells * (cell_h * cell_w)
    shares, owns, labels = shares + first, owns + first, labels + first
    slot = cell
    to_a = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    to_b = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    to_c = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    to_d = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
    down = tl.full([], 0, tl.int32)
    while down < cell_h:
        i = first_i + down
        y = axis_fraction(i, row, low_h, height)[None, :]
        start, end = mix(a, c, y), mix(b, d, y)
        to_start = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
        to_end = tl.zeros([BLOCK_C, BLOCK_M], tl.float32)
        along = tl.full([], 0, tl.int32)
        while along < cell_w:
            j = first_j + along
            inside = present & (i < end_i) & (j < end_j)
            label = tl.load(labels + slot, mask=inside, other=-1).to(tl.int32)
            share = tl.load(shares + slot, mask=inside, other=0.0)
            own = tl.load(owns + slot, mask=inside, other=0.0)
            gap = tl.load(gaps + i * width + j, mask=inside, other=0.0)
            exists = label >= 0
            keep_own, factor, _ = slopes(
                weight, weight_sum, tl.where(exists, label, 0), keep, spread, C,
                HARD, SMOOTH, WEIGHTED,
            )  # fmt: skip
            x = axis_fraction(j, column, low_w, width)
            distance = mix(start, end, x[None, :]) - own[None, :]
            slope = class_derivative(
                # One multiply-add and the power.
                tl.exp2(distance * LOG2_E - (gap * LOG2_E)[None, :]),
                label[None, :] == classes[:, None], weights[:, None],
                keep_own[None, :], factor[None, :], spread, SMOOTH,
            )  # fmt: skip
            slope = tl.where(exists[None, :], slope, 0.0)
            share_end = share * x
            to_start += (share - share_end)[None, :] * slope
            to_end += share_end[None, :] * slope
            slot += cells
            along += 1
        to_a += (1 - y) * to_start
        to_b += (1 - y) * to_end
        to_c += y * to_start
        to_d += y * to_end
        down += 1
    # The compiler must not know that these stores are aligned: it would choose a layout of four
    # cells per thread, and the loops above would exchange data between threads at every pixel.
    corners += local * (4 * C * cells)
    out = (classes * cells)[:, None] + cell[None, :]
    store_lanes(corners, out, to_a, mask)
    store_lanes(corners, out + C * cells, to_b, mask)
    store_lanes(corners, out + 2 * C * cells, to_c, mask)
    store_lanes(corners, out + 3 * C * cells, to_d, mask)


@triton.jit(do_not_specialize=["first_image", "low_h", "low_w", "tiles"])
def gather_kernel(
    corners, gradient, first_image, out_b, out_c, out_h, out_w, low_h, low_w, tiles,
    C: tl.constexpr, INDEX: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Program (tile of an image's pixels, block of classes): sum the four cells of each pixel."""
    program = tl.program_id(0)
    local = (program // tiles).to(tl.int64)
    n = tl.full([], program % tiles, INDEX) * BLOCK_N + tl.arange(0, BLOCK_N)
    classes = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    row, column = n // low_w, n % low_w
    mask = (classes < C)[:, None] & (row < low_h)[None, :]
    across = tl.full([], low_w + 1, INDEX)
    cells = across * (low_h + 1)
    # The pixel is the bottom right corner of cell (row, column).
    cell = row * across + column
    corners += local * (4 * C * cells)
    places = (classes * cells)[:, None] + cell[None, :]
    bottom_right = load_lanes(corners, places + 3 * C * cells, mask, 0.0)
    bottom_left = load_lanes(corners, places + (2 * C * cells + 1), mask, 0.0)
    top_right = load_lanes(corners, places + (C * cells + across), mask, 0.0)
    top_left = load_lanes(corners, places + (across + 1), mask, 0.0)
    total = (bottom_right + bottom_left) + (top_right + top_left)
    out = gradient + (first_image + local) * out_b
    out += (classes * tl.full([], out_c, INDEX))[:, None] + (row * out_h + column * out_w)[None, :]
    tl.store(out, total.to(gradient.dtype.element_ty), mask=mask)


class Scratch(NamedTuple):
    """The elements of each scratch tensor, for some images."""

    images: int
    terms: int  # shares, own logits, labels: pixels in the order of the cells
    corners: int  # four per cell and class
    margins: int  # lse - own logit of every pixel, if the loss is another number
    label: torch.dtype

    @property
    def bytes(self) -> int:
        return (8 + self.label.itemsize) * self.terms + 4 * (self.corners + self.margins)

    def places(self) -> tuple[tuple[int, ...], int]:
        """Of all five in one buffer, the terms in their order: the first bytes, and the end."""
        terms, starts = 4 * self.terms, [0]
        labels = self.label.itemsize * self.terms
        for size in (terms, terms, labels, 4 * self.corners, 4 * self.margins):
            starts.append(starts[-1] + (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT)
        return tuple(starts[:-1]), starts[-1]


def scratch_of(
    sizes: Geometry, batch: int, classes: int, dtype: torch.dtype, *, plain: bool
) -> Scratch:
    """The scratch for as many of ``batch`` images as SHARE leaves room for."""
    size = sizes.high.height * sizes.high.width
    label = torch.int16 if classes < 2**15 else torch.int32
    one = Scratch(1, sizes.terms, 4 * classes * sizes.cells, 0 if plain else size, label)
    scores = 3 * batch * classes * size * dtype.itemsize
    made = batch * (4 * size + classes * sizes.low.height * sizes.low.width * dtype.itemsize)
    images = max(1, min(batch, int(SHARE * scores - made) // one.bytes))
    images = triton.cdiv(batch, triton.cdiv(batch, images))  # as even as can be
    return Scratch(images, images * one.terms, images * one.corners, images * one.margins, label)


class Chunk(NamedTuple):
    """The launches for some images."""

    images: slice
    margins: Launch | None
    terms: Launch
    cells: Launch
    gather: Launch


def upsampled_gradient(
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
    """Write the gradient of (B, C, *low) logits, in their shape and dtype."""
    if gradient.numel() == 0:
        return
    if losses.numel() == 0:
        gradient.zero_()
        return
    scratch, chunks = gradient_launches(
        logits, target, gradient, ignore_index, loss.numbers, shape, packed.shape[1], reduction
    )
    shares, owns = losses.new_empty(scratch.terms), losses.new_empty(scratch.terms)
    labels = losses.new_empty(scratch.terms, dtype=scratch.label)
    corners = losses.new_empty(scratch.corners)
    gaps = losses if loss.numbers.plain else losses.new_empty(scratch.margins)
    terms, copies = (shares, owns, labels), logits.stride(-1) != 1
    with on_device_of(logits):
        for chunk in chunks:
            source = with_contiguous_rows(logits[chunk.images]) if copies else logits
            if chunk.margins is not None:
                chunk.margins(source, target, loss.weight, loss.weight_sum, gaps)
            chunk.terms(grad_value, packed, source, target, loss.weight, losses, *terms)
            chunk.cells(source, loss.weight, loss.weight_sum, gaps, *terms, corners)
            chunk.gather(corners, gradient)


def bound(scratch: Scratch, chunks: tuple[Chunk, ...]) -> tuple[Callable[..., None] | None, int]:
    """The launches by addresses, and the bytes of their scratch.

    ``(stream, grad, packed, logits, target, weight, weight_sum, losses, gradient, scratch)``; None
    before all have been launched.
    """
    found = [
        (
            x.margins.bound() if x.margins else None,
            x.terms.bound(),
            x.cells.bound(),
            x.gather.bound(),
        )
        for x in chunks
    ]
    launches = [(m, a, b, c) for m, a, b, c in found if a and b and c]
    places, end = scratch.places()
    if len(launches) < len(found) or (scratch.margins and not all(m for m, *_ in found)):
        return None, end

    def run(
        stream: int, grad: int, packed: int, logits: int, target: int, weight: int | None,
        weight_sum: int | None, losses: int, gradient: int, first: int,
    ) -> None:  # fmt: skip
        *terms, corners, gaps = (first + place for place in places)
        if not scratch.margins:
            gaps = losses
        for margins, own, cells, gather in launches:
            if margins is not None:
                margins(stream, logits, target, weight, weight_sum, gaps)
            own(stream, grad, packed, logits, target, weight, losses, *terms)
            cells(stream, logits, weight, weight_sum, gaps, *terms, corners)
            gather(stream, corners, gradient)

    return run, end


@by_form(tensors=3)
def gradient_launches(
    logits: Tensor,
    target: Tensor,
    gradient: Tensor,
    ignore_index: int,
    loss: Numbers,
    shape: Norm,
    pools: int,
    reduction: str,
) -> tuple[Scratch, tuple[Chunk, ...]]:
    batch, classes = logits.shape[:2]
    copies = logits.stride(-1) != 1
    source = logits.to("meta").contiguous() if copies else logits
    sizes = geometry(source, target, gradient)
    scratch = scratch_of(sizes, batch, classes, logits.dtype, plain=loss.plain)
    along, segments, tiles = sizes.rows
    strides, out = sizes.low.strides
    layout = (strides.image, strides.channel, strides.row, *sizes.sizes, *sizes.cell)
    blocks = triton.cdiv(classes, CLASSES)
    cell_tiles = triton.cdiv(sizes.cells, THREADS)
    low_tiles = triton.cdiv(sizes.low.height * sizes.low.width, THREADS)
    common = {"C": classes, "INDEX": sizes.index, "num_warps": WARPS}

    def chunk(first: int, images: int) -> Chunk:
        first_source = 0 if copies else first
        margins = None
        if not loss.plain:
            margins = rows_launch(
                sizes, images, classes, ignore_index, loss,
                first_source=first_source, first_image=first, only_margins=True,
            )  # fmt: skip
        terms = Launch(
            terms_kernel, (tiles * images,),
            ignore_index, loss.keep, shape.exponent, pools, batch // pools, first_source, first,
            *layout, segments, tiles, NORM=shape.kind, ROWS=row_lanes(pools, reduction),
            REDUCTION=REDUCTIONS.index(reduction), SMOOTH=loss.smooth, WEIGHTED=loss.weighted,
            ALONG=along, BLOCK_M=THREADS, **common,
        )  # fmt: skip
        cells = Launch(
            cells_kernel, (cell_tiles * images, blocks),
            loss.keep, loss.spread, first_source, first if loss.plain else 0, *layout, cell_tiles,
            **loss.flags, BLOCK_C=CLASSES, BLOCK_M=THREADS, **common,
        )  # fmt: skip
        gather = Launch(
            gather_kernel, (low_tiles * images, blocks),
            first, *out, sizes.low.height, sizes.low.width, low_tiles,
            BLOCK_C=CLASSES, BLOCK_N=THREADS, **common,
        )  # fmt: skip
        return Chunk(slice(first, first + images), margins, terms, cells, gather)

    step = scratch.images
    return scratch, tuple(chunk(first, min(step, batch - first)) for first in range(0, batch, step))
