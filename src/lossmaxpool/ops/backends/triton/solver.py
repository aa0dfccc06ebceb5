"""alpha* and the value of every row of losses, in four launches (five for p = 1).

1. Two passes count the losses in 256 bins of equally many bit patterns: non-negative floats are
   ordered like their bits. With each loss rounded up to the last pattern of its bin, Algorithm 1
   of Rota Bulò et al. 2017 is a few sums over bins. alpha* is monotone in every loss and
   homogeneous in all, so the bound exceeds alpha* by at most the ratio of a bin's edges. The first
   bins are binades; the second pass counts within one binade.
2. One pass splits the row at that bound. It adds up the losses above it and the q-th powers of
   those certainly below alpha*, and stores the few losses in between.
3. One program per row runs Newton's iteration on the stored losses until none changes sides.

For p = 1, alpha* is an order statistic: four counting passes find all its bits, and the split
counts its ties.

Programs of a launch do not synchronize with each other: each adds up, in a fixed order, the
partial results of the previous launch. The host never waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossmaxpool.ops.backends.kernel_inputs import by_form
from lossmaxpool.ops.backends.triton.launch import Launch, on_device_of
from lossmaxpool.ops.backends.triton.weights import floor_to_float32, joined, log_ratio, split
from lossmaxpool.ops.weighting_set import WeightingSet

# Losses per step of a program: 8 per thread, read 4 at a time; two programs fit a multiprocessor.
BLOCK, WARPS = 2048, 8
# Enough programs to fill a GPU, and a limit per row: each pass adds up the previous one's partials.
_PROGRAMS, _PER_ROW = 256, 128
BINS = tl.constexpr(256)
# log2 of the bit patterns of a bin, pass by pass.
SHIFTS, TOP_K_SHIFTS = (23, 15), (23, 15, 7, 0)
# float64 numbers that each program stores. Counting: n, largest, unsound (first pass) or number
# above the bracket, anchor and sum of the powers below it; then the bracket's two ends.
# Splitting: number above, their sum, anchor and sum of the powers below (for p = 1 the number of
# ties instead of the sum), number kept, threshold.
FIELDS = tl.constexpr(6)
# Of the values of all rows: each for itself, their sum, the mean over those with a valid pixel.
REDUCTIONS = ("none", "sum", "mean")
EACH, MEAN = tl.constexpr(0), tl.constexpr(2)


@triton.jit
def load_pixels(
    losses, valid, row, block, pixels,
    MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of a row: its losses, with -0.0 replaced by 0, and which of them are valid.

    MASKED: given by ``valid``. MARKED: negative losses are not valid.
    """
    n = tl.full([], block, tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = n < pixels
    loss = tl.load(losses + row * pixels + n, mask=exists, other=0.0)
    if MASKED:
        exists = exists & (tl.load(valid + row * pixels + n, mask=exists, other=0) != 0)
    if MARKED:
        exists = exists & ~(loss < 0)  # a NaN counts as valid
    return tl.where(loss == 0, 0.0, loss), exists


@triton.jit
def relative_power(x, anchor, q):
    """``(x / anchor)^q`` for ``0 <= x <= anchor``; 0 for 0."""
    safe = tl.where(anchor > 0, anchor, 1.0)
    return tl.where(x > 0, tl.exp(q * log_ratio(x, safe)), 0.0)


@triton.jit
def add_powers(below, anchor, powers, q):
    """Add a block of losses to a running ``sum of (l / anchor)^q``, per lane, in float64.

    The anchor is the largest loss so far. With a larger one (the threshold, the overall maximum),
    every power could underflow for p near 1.
    """
    top = tl.max(below, 0)
    if top > anchor:
        powers = powers * relative_power(anchor, top, q).to(tl.float64)
        anchor = top
    powers += relative_power(below, anchor, q).to(tl.float64)
    return anchor, powers


@triton.jit
def combine_powers(anchors, powers, q):
    """Rescale partial sums from their own anchors to the largest anchor."""
    anchor = tl.max(anchors, 0)
    shares = relative_power(anchors.to(tl.float32), anchor.to(tl.float32), q).to(tl.float64)
    return anchor, tl.sum(powers * shares, 0)


@triton.jit
def load_parts(parts, row, field, G, GP: tl.constexpr):
    """One field of each of the row's G programs, 0 beyond G."""
    g = tl.arange(0, GP)
    return tl.load(parts + (row * G + g) * FIELDS + field, mask=g < G, other=0.0)


@triton.jit
def pool_size(first, row, fraction, fraction_low, least, least_low, G, GP: tl.constexpr):
    """n, m and the largest loss (NaN if the row is unsound), from the first pass."""
    n = tl.sum(load_parts(first, row, 0, G, GP), 0)
    largest = tl.max(load_parts(first, row, 1, G, GP), 0)
    unsound = tl.max(load_parts(first, row, 2, G, GP), 0)
    m = tl.maximum(joined(fraction, fraction_low) * n, joined(least, least_low))
    m = tl.minimum(m, n)
    return n, m, tl.where(unsound > 0, float("nan"), largest)


@triton.jit
def load_counts(counts, row, G):
    """The row's histogram (BINS,) in float64: the exact sum of the partials, 32 at a time."""
    bins = tl.arange(0, BINS)
    total = tl.zeros([BINS], tl.int64)
    start = tl.full([], 0, tl.int32)
    while start < G:
        g = start + tl.arange(0, 32)
        places = (row * G + g)[:, None] * BINS + bins[None, :]
        part = tl.load(counts + places, mask=(g < G)[:, None], other=0)
        total += tl.sum(part.to(tl.int64), 0)
        start += 32
    return total.to(tl.float64)


@triton.jit
def order_bin(counts, parts, row, m, G, GP: tl.constexpr, SHIFT: tl.constexpr, FIRST: tl.constexpr):
    """The first bit pattern of the bin that holds the (floor(m) + 1)-th largest loss.

    If there is no such loss, the result is meaningless.
    """
    low = tl.full([], -1, tl.int64)
    rank = tl.floor(m) + 1
    if not FIRST:
        low = tl.load(parts + row * G * FIELDS + 3).to(tl.int64)
        rank -= tl.sum(load_parts(parts, row, 0, G, GP), 0)
    count = load_counts(counts, row, G)
    at_least = tl.sum(count, 0) - tl.cumsum(count, 0) + count
    found = tl.maximum(tl.sum((at_least >= rank).to(tl.int32), 0) - 1, 0)
    return low + 1 + (found.to(tl.int64) << SHIFT)


@triton.jit
def bound(counts, parts, row, m, largest, q, q_low, G, GP: tl.constexpr, SHIFT: tl.constexpr,
          FIRST: tl.constexpr):  # fmt: skip
    """alpha* of the row in float64, with every loss of the last bracket rounded up.

    Algorithm 1, lines 6-12, on values with multiplicity. "The losses of bin k and above are capped"
    is monotone in k, so the first such bin is found by bisection.
    """
    wide_q = joined(q, q_low)
    room = tl.maximum(m, 1e-300)  # a pool without pixels solves to 0, not to 0/0
    log_below = tl.full([], float("-inf"), tl.float64)
    low = tl.full([], -1, tl.int64)
    high = largest.to(tl.float32).to(tl.int32, bitcast=True).to(tl.int64)
    if not FIRST:
        low = tl.load(parts + row * G * FIELDS + 3).to(tl.int64)
        high = tl.load(parts + row * G * FIELDS + 4).to(tl.int64)
        room -= tl.sum(load_parts(parts, row, 0, G, GP), 0)
        anchor, power = combine_powers(
            load_parts(parts, row, 1, G, GP), load_parts(parts, row, 2, G, GP), q
        )
        positive = anchor > 0
        logarithm = tl.log(tl.where(positive, power, 1.0))
        logarithm += wide_q * tl.log(tl.where(positive, anchor, 1.0))
        log_below = tl.where(positive, logarithm, log_below)
    count = load_counts(counts, row, G)
    bins = tl.arange(0, BINS)
    last = low + ((bins + 1).to(tl.int64) << SHIFT)  # the last bit pattern of each bin
    last = tl.maximum(tl.where(bins == BINS - 1, high, tl.minimum(last, high)), 1)
    upper = last.to(tl.int32).to(tl.float32, bitcast=True).to(tl.float64)
    # Bin 0 of the first pass counts as power 0: it holds the zeros and losses below 2^-126.
    log_power = wide_q * tl.log(upper)

    first = tl.full([], 0, tl.int32)
    end = tl.full([], BINS, tl.int32)
    for _ in range(9):
        k = (first + end) // 2  # BINS: no bin is capped
        here = tl.sum(tl.where(bins == k, log_power, 0.0), 0)
        left = room - tl.sum(tl.where(bins >= k, count, 0.0), 0)
        smaller = tl.where(bins < k, count * tl.exp(tl.minimum(log_power - here, 0.0)), 0.0)
        mass = tl.sum(smaller, 0) + tl.exp(tl.minimum(log_below - here, 700.0))
        # eta > 0 at the bin's value, after subtracting its own losses from both sides.
        capped = (left > mass) | (k == BINS)
        end = tl.where(capped, k, end)
        first = tl.where(capped, first, tl.minimum(k + 1, BINS))
    left = tl.maximum(room - tl.sum(tl.where(bins >= end, count, 0.0), 0), 1e-300)
    kept = (bins < end) & (count > 0)
    top = tl.maximum(tl.max(tl.where(kept, log_power, float("-inf")), 0), log_below)
    top = tl.where(top == float("-inf"), 0.0, top)
    terms = tl.where(kept, count * tl.exp(tl.where(kept, log_power - top, 0.0)), 0.0)
    mass = tl.sum(terms, 0) + tl.exp(log_below - top)
    log_mass = tl.where(mass > 0, tl.log(tl.where(mass > 0, mass, 1.0)) + top, float("-inf"))
    alpha = tl.exp((log_mass - tl.log(left)) / wide_q)
    # Round up: below a loss that equals alpha*, Newton's m - |J| could be 0.
    return alpha * (1 + 2.0**-42)


@triton.jit
def certainly_below(alpha, WIDTH: tl.constexpr):
    """The bits of a float32 below alpha*, given a bound that is less than WIDTH above it."""
    low = floor_to_float32(alpha / WIDTH).to(tl.int32, bitcast=True).to(tl.int64) - 1
    # For subnormal numbers, the ratio of a bin's edges is unbounded.
    return tl.where(alpha < 2.0**-100, -1, low)


@triton.jit
def count_kernel(
    losses, valid, first_parts, last_counts, last_parts, counts, parts,
    units, fraction, fraction_low, least, least_low, q, q_low,
    G, GP: tl.constexpr, UNIT: tl.constexpr,
    MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
    LAST_SHIFT: tl.constexpr, SHIFT: tl.constexpr, PASS: tl.constexpr, TOP_K: tl.constexpr,
):  # fmt: skip
    """Program g of a row: count its blocks g, g + G, ... by bins of a bracket.

    All programs of a row compute the same bracket from the partials of the last pass. A row has
    UNIT x ``units`` losses, which tells the compiler how many it can read at a time.
    """
    pixels = tl.full([], units, tl.int64) * UNIT
    g = tl.program_id(0) % G
    row = (tl.program_id(0) // G).to(tl.int64)
    low = tl.full([], -1, tl.int64)
    high = tl.full([], 0x7FFFFFFF, tl.int64)
    if PASS > 0:
        _, m, largest = pool_size(first_parts, row, fraction, fraction_low, least, least_low, G, GP)
        if TOP_K:
            low = order_bin(last_counts, last_parts, row, m, G, GP, LAST_SHIFT, PASS == 1) - 1
            high = low + (1 << LAST_SHIFT)
        else:
            alpha = bound(
                last_counts, last_parts, row, m, largest, q, q_low, G, GP, LAST_SHIFT, PASS == 1
            )
            alpha = tl.minimum(alpha, largest)
            below = floor_to_float32(alpha)
            high = below.to(tl.int32, bitcast=True).to(tl.int64)
            high += (below.to(tl.float64) < alpha).to(tl.int64)
            low = certainly_below(alpha, 1.0 + 2.0 ** (LAST_SHIFT - 23))

    bins = tl.arange(0, BINS)
    histogram = tl.zeros([BINS], tl.int32)
    existing = tl.zeros([BLOCK], tl.int32)
    above = tl.zeros([BLOCK], tl.int32)
    unsound = tl.zeros([BLOCK], tl.int32)
    largest_here = tl.zeros([BLOCK], tl.float32)
    anchor = tl.full([], 0.0, tl.float32)
    powers = tl.zeros([BLOCK], tl.float64)
    block = g
    while block < tl.cdiv(pixels, BLOCK):
        loss, exists = load_pixels(losses, valid, row, block, pixels, MASKED, MARKED, BLOCK)
        bits = loss.to(tl.int32, bitcast=True).to(tl.int64)
        counted = exists & (bits > low) & (bits <= high)
        bin = tl.minimum(tl.maximum((bits - low - 1) >> SHIFT, 0), BINS - 1).to(tl.int32)
        # `tl.histogram` takes no mask in old releases: count the others in bin 0, then subtract.
        stray = tl.sum(1 - counted.to(tl.int32), 0)
        histogram += tl.histogram(tl.where(counted, bin, 0), BINS) - tl.where(bins == 0, stray, 0)
        if PASS == 0:
            sound = (loss >= 0) & (loss < float("inf"))
            existing += exists.to(tl.int32)
            unsound |= (exists & ~sound).to(tl.int32)
            largest_here = tl.maximum(largest_here, tl.where(exists & sound, loss, 0.0))
        else:
            above += (exists & (bits > high)).to(tl.int32)
            if not TOP_K:
                anchor, powers = add_powers(
                    tl.where(exists & (bits <= low), loss, 0.0), anchor, powers, q
                )
        block += G
    tl.store(counts + (row * G + g) * BINS + bins, histogram)
    out = parts + (row * G + g) * FIELDS
    if PASS == 0:
        tl.store(out, tl.sum(existing, 0).to(tl.float64))
        tl.store(out + 1, tl.max(largest_here, 0).to(tl.float64))
        tl.store(out + 2, tl.max(unsound, 0).to(tl.float64))
    else:
        tl.store(out, tl.sum(above, 0).to(tl.float64))
        tl.store(out + 1, anchor.to(tl.float64))
        tl.store(out + 2, tl.sum(powers, 0))
    tl.store(out + 3, low.to(tl.float64))
    tl.store(out + 4, high.to(tl.float64))


@triton.jit
def split_kernel(
    losses, valid, first_parts, last_counts, last_parts, parts, kept,
    units, capacity, fraction, fraction_low, least, least_low, q, q_low,
    G, GP: tl.constexpr, UNIT: tl.constexpr,
    MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
    LAST_SHIFT: tl.constexpr, TOP_K: tl.constexpr,
):  # fmt: skip
    """Program g of a row: split its blocks' losses at the row's bound of alpha*.

    ``kept`` (R, G, capacity) receives, in order, the losses that may lie on either side of alpha*.
    """
    pixels = tl.full([], units, tl.int64) * UNIT
    g = tl.program_id(0) % G
    row = (tl.program_id(0) // G).to(tl.int64)
    n, m, largest = pool_size(first_parts, row, fraction, fraction_low, least, least_low, G, GP)
    if TOP_K:
        bits = order_bin(last_counts, last_parts, row, m, G, GP, LAST_SHIFT, False)
        threshold = tl.where(tl.floor(m) < n, bits, 0).to(tl.int32).to(tl.float32, bitcast=True)
        floor = threshold
    else:
        alpha = bound(last_counts, last_parts, row, m, largest, q, q_low, G, GP, LAST_SHIFT, False)
        threshold = floor_to_float32(alpha)
        # Twice the relative width of a bin: the last bin has a few patterns more than the others.
        below = tl.maximum(certainly_below(alpha, 1.0 + 2.0 ** (LAST_SHIFT - 22)), 0)
        floor = below.to(tl.int32).to(tl.float32, bitcast=True)
    above = tl.zeros([BLOCK], tl.int32)
    over = tl.zeros([BLOCK], tl.float64)
    ties = tl.zeros([BLOCK], tl.int32)
    anchor = tl.full([], 0.0, tl.float32)
    powers = tl.zeros([BLOCK], tl.float64)
    held = tl.full([], 0, tl.int32)
    segment = kept + (row * G + g) * capacity
    block = g
    while block < tl.cdiv(pixels, BLOCK):
        loss, exists = load_pixels(losses, valid, row, block, pixels, MASKED, MARKED, BLOCK)
        capped = exists & (loss > threshold)
        above += capped.to(tl.int32)
        over += tl.where(capped, loss, 0.0).to(tl.float64)
        if TOP_K:
            ties += (exists & (loss == threshold)).to(tl.int32)
        else:
            near = exists & (loss > floor) & (loss <= threshold)
            many = tl.sum(near.to(tl.int32), 0)
            if many > 0:
                place = held + tl.cumsum(near.to(tl.int32), 0) - 1
                tl.store(segment + place, loss, mask=near)
                held += many
            anchor, powers = add_powers(
                tl.where(exists & (loss <= floor), loss, 0.0), anchor, powers, q
            )
        block += G
    out = parts + (row * G + g) * FIELDS
    tl.store(out, tl.sum(above, 0).to(tl.float64))
    tl.store(out + 1, tl.sum(over, 0))
    tl.store(out + 2, anchor.to(tl.float64))
    if TOP_K:
        tl.store(out + 3, tl.sum(ties, 0).to(tl.float64))
    else:
        tl.store(out + 3, tl.sum(powers, 0))
    tl.store(out + 4, held.to(tl.float64))
    tl.store(out + 5, threshold.to(tl.float64))


@triton.jit
def newton(parts, kept, capacity, row, m, q, q_low, G, GP: tl.constexpr, LANES: tl.constexpr):
    """alpha*, the sum of the losses above it, and m minus their number.

    ``alpha <- (sum_{l <= alpha} l^q / (m - #{l > alpha}))^(1/q)``, Eq. 9 solved for the set J of
    the current alpha. Starting right of the root, the steps are monotone; stop when no loss changes
    sides.
    """
    fixed_room = tl.maximum(m, 1e-300) - tl.sum(load_parts(parts, row, 0, G, GP), 0)
    fixed_sum = tl.sum(load_parts(parts, row, 1, G, GP), 0)
    fixed_anchor, fixed_power = combine_powers(
        load_parts(parts, row, 2, G, GP), load_parts(parts, row, 3, G, GP), q
    )
    most = tl.max(load_parts(parts, row, 4, G, GP), 0).to(tl.int32)
    # Lane i reads the kept losses i // GP, i // GP + LANES / GP, ... of program i % GP.
    lane = tl.arange(0, LANES)
    g = lane % GP
    held = tl.load(parts + (row * G + g) * FIELDS + 4, mask=g < G, other=0.0).to(tl.int32)
    segment = kept + (row * G + g) * capacity
    alpha = tl.load(parts + row * G * FIELDS + 5)
    capped_sum = fixed_sum
    room = fixed_room
    moving = tl.full([], 1, tl.int32)
    while moving > 0:
        threshold = floor_to_float32(alpha)
        above = tl.zeros([LANES], tl.int32)
        over = tl.zeros([LANES], tl.float64)
        anchor = tl.full([], 0.0, tl.float32)
        powers = tl.zeros([LANES], tl.float64)
        start = tl.full([], 0, tl.int32)
        while start < most:
            slot = start + lane // GP
            loss = tl.load(segment + slot, mask=slot < held, other=0.0)
            capped = loss > threshold
            above += capped.to(tl.int32)
            over += tl.where(capped, loss, 0.0).to(tl.float64)
            anchor, powers = add_powers(tl.where(capped, 0.0, loss), anchor, powers, q)
            start += LANES // GP
        capped_sum = fixed_sum + tl.sum(over, 0)
        room = fixed_room - tl.sum(above, 0).to(tl.float64)
        near = anchor.to(tl.float64)
        top = tl.maximum(near, fixed_anchor)
        narrow = top.to(tl.float32)
        power = tl.sum(powers, 0) * relative_power(anchor, narrow, q).to(tl.float64)
        share = relative_power(fixed_anchor.to(tl.float32), narrow, q).to(tl.float64)
        power += fixed_power * share
        positive = top > 0
        ratio = tl.where(positive, power, 1.0) / tl.where(positive, room, 1.0)
        alpha = tl.where(positive, top * tl.exp(tl.log(ratio) / joined(q, q_low)), 0.0)
        # If alpha is not below the largest loss under the last threshold, no loss changes
        # sides. The losses that were not kept are certainly below alpha*. A NaN ends the loop.
        moving = (alpha < near).to(tl.int32)
    return alpha, capped_sum, room


@triton.jit
def finish_kernel(
    first_parts, parts, kept, packed,
    rows, capacity, fraction, fraction_low, least, least_low, q, q_low, inverse_p, inverse_p_low,
    G, GP: tl.constexpr, LANES: tl.constexpr, TOP_K: tl.constexpr,
):  # fmt: skip
    """Program: one row. Write its value (Eq. 10), alpha, cap, tie, n and m."""
    row = tl.program_id(0).to(tl.int64)
    n, m, largest = pool_size(first_parts, row, fraction, fraction_low, least, least_low, G, GP)
    if TOP_K:
        room = m - tl.sum(load_parts(parts, row, 0, G, GP), 0)
        capped_sum = tl.sum(load_parts(parts, row, 1, G, GP), 0)
        ties = tl.sum(load_parts(parts, row, 3, G, GP), 0)
        alpha = tl.load(parts + row * G * FIELDS + 5)
        # Theorem 2 allows any distribution over ties; an even one is permutation-equivariant.
        share = tl.where(alpha > 0, room / tl.maximum(ties, 1.0), 0.0)
    else:
        alpha, capped_sum, room = newton(parts, kept, capacity, row, m, q, q_low, G, GP, LANES)
        share = tl.full([], 1.0, tl.float64)
    occupied = tl.maximum(n, 1.0)
    ratio = tl.where(n > 0, occupied / tl.maximum(m, 1e-300), 1.0)
    # tau = (n / m)^(1/p) / n; for p = 1 use 1 / m directly, without rounding by the logarithm.
    if TOP_K:
        cap = 1 / tl.maximum(m, 1e-300)
    else:
        cap = tl.exp(joined(inverse_p, inverse_p_low) * tl.log(ratio)) / occupied
    cap = tl.where(n > 0, cap, 0.0)
    value = tl.where(largest == largest, cap * (capped_sum + room * alpha), float("nan"))
    tl.store(packed + row, value)
    tl.store(packed + rows + row, alpha)
    tl.store(packed + 2 * rows + row, cap)
    tl.store(packed + 3 * rows + row, cap * share)
    tl.store(packed + 4 * rows + row, n)
    tl.store(packed + 5 * rows + row, m)


@triton.jit(do_not_specialize=["rows"])
def reduce_kernel(packed, value, rows, ROWS: tl.constexpr, REDUCTION: tl.constexpr):
    """One program: the values of all rows in float32, their sum, or their mean.

    The sum is in float64, in which that of a few float32 numbers is exact in any order.
    """
    row = tl.arange(0, ROWS)
    inside = row < rows
    each = tl.load(packed + row, mask=inside, other=0.0).to(tl.float32)
    if REDUCTION == EACH:
        tl.store(value + row, each, mask=inside)
    else:
        divisor = occupied_rows(packed, rows, row, REDUCTION)
        tl.store(value, (tl.sum(each.to(tl.float64), 0) / divisor).to(tl.float32))


@triton.jit(do_not_specialize=["rows"])
def spread_kernel(packed, grad, upstream, rows, ROWS: tl.constexpr, REDUCTION: tl.constexpr):
    """One program: the gradient of every row's value from that of the result."""
    row = tl.arange(0, ROWS)
    share = tl.load(grad).to(tl.float64) / occupied_rows(packed, rows, row, REDUCTION)
    tl.store(upstream + row, tl.zeros([ROWS], tl.float32) + share.to(tl.float32), mask=row < rows)


@triton.jit
def occupied_rows(packed, rows, row, REDUCTION: tl.constexpr):
    """The divisor of the sum over rows, in float64."""
    if REDUCTION == MEAN:
        n = tl.load(packed + 4 * rows + row, mask=row < rows, other=0.0)
        return tl.maximum(tl.sum((n > 0).to(tl.int32), 0), 1).to(tl.float64)
    return tl.full([], 1.0, tl.float64)


class _Solver(NamedTuple):
    """The launches for (R, N) losses, and the sizes of what they leave to each other."""

    counting: tuple[Launch, ...]
    split: Launch
    finish: Launch
    rows: int
    programs: int  # of a row
    capacity: int  # losses that a program can keep

    def bound(self) -> tuple[Callable[..., None], int] | None:
        """The launches of :func:`find_threshold` by addresses, and the bytes of their workspace.

        ``(stream, losses, packed, workspace)``; None before all have been launched.
        """
        found = [x.bound() for x in (*self.counting, self.split, self.finish)]
        launches = [x for x in found if x is not None]
        if len(launches) < len(found):
            return None
        *counting, narrow, finish = launches
        passes, programs = len(counting), self.rows * self.programs
        count, part = programs * BINS.value * 4, programs * FIELDS.value * 8
        behind = passes * count + (passes + 1) * part

        def run(stream: int, losses: int, packed: int, counts: int) -> None:
            parts = counts + passes * count
            for i, launch in enumerate(counting):
                last = max(i - 1, 0)
                launch(
                    stream, losses, None, parts, counts + last * count, parts + last * part,
                    counts + i * count, parts + i * part,
                )  # fmt: skip
            split, kept = parts + passes * part, counts + behind
            narrow(
                stream, losses, None, parts, counts + (passes - 1) * count, split - part, split,
                kept,
            )  # fmt: skip
            finish(stream, parts, split, kept, packed)

        return run, behind + programs * self.capacity * 4


def find_threshold(
    losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool
) -> Tensor:
    """The (6, R) packed threshold of (R, N) contiguous float32 losses."""
    rows, device = losses.shape[0], losses.device
    packed = torch.empty(6, rows, dtype=torch.float64, device=device)
    if rows == 0:
        return packed
    run = solver(losses, valid is not None, weighting, marked)
    passes = len(run.counting)
    shape = (passes, rows, run.programs, BINS.value)
    counts = torch.empty(shape, dtype=torch.int32, device=device).unbind()
    shape = (passes + 1, rows, run.programs, FIELDS.value)
    parts = torch.empty(shape, dtype=torch.float64, device=device).unbind()
    kept = losses.new_empty(rows, run.programs, run.capacity)
    with on_device_of(losses):
        for i, launch in enumerate(run.counting):
            last = max(i - 1, 0)
            launch(losses, valid, parts[0], counts[last], parts[last], counts[i], parts[i])
        run.split(losses, valid, parts[0], counts[-1], parts[-2], parts[-1], kept)
        run.finish(parts[0], parts[-1], kept, packed)
    return packed


@by_form(tensors=1)
def solver(losses: Tensor, masked: bool, weighting: WeightingSet, marked: bool) -> _Solver:
    (rows, pixels), top_k = losses.shape, weighting.is_top_k
    # Depends on the shape alone, so that results are bit-identical on every run and device.
    blocks = triton.cdiv(pixels, BLOCK)
    programs = max(1, min(_PER_ROW, max(8, _PROGRAMS // rows), blocks))
    capacity = 0 if top_k else triton.cdiv(blocks, programs) * BLOCK
    shifts = TOP_K_SHIFTS if top_k else SHIFTS
    q = 1.0 if top_k else weighting.q  # p = 1 needs no powers
    numbers = (*split(weighting.fraction), *split(weighting.least), *split(q))
    padded = triton.next_power_of_2(programs)
    options: dict[str, Any] = {"GP": padded, "TOP_K": top_k, "num_warps": WARPS}
    unit = math.gcd(16, pixels)
    units = pixels // unit
    reading: dict[str, Any] = {"MASKED": masked, "MARKED": marked, "BLOCK": BLOCK, "UNIT": unit}
    grid = (programs * rows,)
    counting = tuple(
        Launch(
            count_kernel, grid, units, *numbers, programs,
            LAST_SHIFT=shifts[max(i - 1, 0)], SHIFT=shift, PASS=i, **reading, **options,
        )
        for i, shift in enumerate(shifts)
    )  # fmt: skip
    narrow = Launch(
        split_kernel, grid, units, capacity, *numbers, programs,
        LAST_SHIFT=shifts[-1], **reading, **options,
    )  # fmt: skip
    finish = Launch(
        finish_kernel, (rows,), rows, capacity, *numbers, *split(1 / weighting.p), programs,
        LANES=BLOCK, **options,
    )  # fmt: skip
    return _Solver(counting, narrow, finish, rows, programs, capacity)


@by_form(tensors=1)
def reduction_launch(packed: Tensor, reduction: str, backward: bool) -> Launch:
    """From (6, R) thresholds to their reduced value, or from its gradient to those of the rows."""
    rows = packed.shape[1]
    return Launch(
        spread_kernel if backward else reduce_kernel, (1,), rows,
        ROWS=triton.next_power_of_2(rows), REDUCTION=REDUCTIONS.index(reduction), num_warps=1,
    )  # fmt: skip
