"""An upper bound of alpha* from histograms of the losses' bits.

Non-negative floats order as their bits do. Every pass counts the losses of a bracket in 256 bins
of equally many bit patterns; with each loss rounded up to the last pattern of its bin, Algorithm 1
is a few sums over bins. alpha* grows with every loss and scales with all of them, so the bound is
above alpha* by at most the ratio of a bin's edges, and the next bracket is that narrow.
"""

from __future__ import annotations

import triton
import triton.language as tl

from lossmaxpool.ops.backends.triton.pool_pixels import load_pixels
from lossmaxpool.ops.backends.triton.pool_weight import floor_to_float32
from lossmaxpool.ops.backends.triton.power_sum import add_powers, combine_powers
from lossmaxpool.ops.backends.triton.precision import joined

BINS = tl.constexpr(256)
# log2 of the bit patterns of a bin, pass by pass. The first bins are binades, so that the second
# bracket holds 2^23 patterns; relative width w at the bottom of a binade is up to 2 w at its top,
# hence a bracket two bins wide, and 7 bits more by each later pass.
SHIFTS = (23, 15, 8)
STATISTICS = tl.constexpr(5)  # float64 numbers that a program leaves beside its counts


def passes(q: float) -> int:
    """How many brackets pay: Newton's steps are few once q-th powers in one differ by below e."""
    return 2 if q * 2.0 ** (SHIFTS[1] - 23) <= 1 else 3


@triton.jit
def load_partials(statistics, row, field, G, GP: tl.constexpr, FIELDS: tl.constexpr):
    """One number of each of the row's G programs, 0 beyond."""
    g = tl.arange(0, GP)
    return tl.load(statistics + (row * G + g) * FIELDS + field, mask=g < G, other=0.0)


@triton.jit
def pool_size(first, row, fraction, fraction_low, least, least_low, G, GP: tl.constexpr):
    """n, m and the largest loss (NaN if the row is unsound), from the first pass's statistics."""
    n = tl.sum(load_partials(first, row, 0, G, GP, STATISTICS), 0)
    largest = tl.max(load_partials(first, row, 1, G, GP, STATISTICS), 0)
    unsound = tl.max(load_partials(first, row, 2, G, GP, STATISTICS), 0)
    m = tl.maximum(joined(fraction, fraction_low) * n, joined(least, least_low))
    m = tl.minimum(m, n)
    return n, m, tl.where(unsound > 0, float("nan"), largest)


@triton.jit
def load_counts(counts, row, G):
    """The row's histogram (BINS,), in float64: partials added up, exactly, 32 at a time."""
    bins = tl.arange(0, BINS)
    total = tl.zeros([BINS], tl.int64)
    for start in range(0, G, 32):
        g = start + tl.arange(0, 32)
        places = (row * G + g)[:, None] * BINS + bins[None, :]
        part = tl.load(counts + places, mask=(g < G)[:, None], other=0)
        total += tl.sum(part.to(tl.int64), 0)
    return total.to(tl.float64)


@triton.jit
def bound(counts, statistics, row, m, largest, q, q_low, G, GP: tl.constexpr, SHIFT: tl.constexpr,
          FIRST: tl.constexpr):  # fmt: skip
    """alpha* of the row with every loss of the last bracket rounded up, in float64.

    Rota Bulò et al. 2017, Algorithm 1, lines 6-12, on values with multiplicity. "The losses of bin
    k and above are capped" is monotone in k, so the first such bin is found by bisection.
    """
    wide_q = joined(q, q_low)
    room = tl.maximum(m, 1e-300)  # a pool without pixels solves to 0, not to 0/0
    log_below = tl.full([], float("-inf"), tl.float64)
    low = tl.full([], -1, tl.int64)
    high = largest.to(tl.float32).to(tl.int32, bitcast=True).to(tl.int64)
    if not FIRST:
        low = tl.load(statistics + row * G * STATISTICS + 3).to(tl.int64)
        high = tl.load(statistics + row * G * STATISTICS + 4).to(tl.int64)
        room -= tl.sum(load_partials(statistics, row, 0, G, GP, STATISTICS), 0)
        anchor, power = combine_powers(
            load_partials(statistics, row, 1, G, GP, STATISTICS),
            load_partials(statistics, row, 2, G, GP, STATISTICS),
            q,
        )
        log_below = tl.where(
            anchor > 0,
            tl.log(tl.where(anchor > 0, power, 1.0))
            + wide_q * tl.log(tl.where(anchor > 0, anchor, 1.0)),
            log_below,
        )
    count = load_counts(counts, row, G)
    bins = tl.arange(0, BINS)
    last = low + ((bins + 1).to(tl.int64) << SHIFT)  # the last bit pattern of each bin
    last = tl.maximum(tl.where(bins == BINS - 1, high, tl.minimum(last, high)), 1)
    upper = last.to(tl.int32).to(tl.float32, bitcast=True).to(tl.float64)
    # Bin 0 of the first pass holds the zeros, whose powers add nothing: the rest is below 2^-126.
    log_power = wide_q * tl.log(upper)

    first = tl.full([], 0, tl.int32)
    end = tl.full([], BINS, tl.int32)
    for _ in range(9):
        k = (first + end) // 2  # BINS: no bin is capped
        here = tl.sum(tl.where(bins == k, log_power, 0.0), 0)
        left = room - tl.sum(tl.where(bins >= k, count, 0.0), 0)
        smaller = tl.where(bins < k, count * tl.exp(tl.minimum(log_power - here, 0.0)), 0.0)
        mass = tl.sum(smaller, 0) + tl.exp(tl.minimum(log_below - here, 700.0))
        # eta > 0 at the bin's value, with its own losses taken off both sides.
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
    # Rounded down, it could fall below a loss that alpha* equals, and leave Newton no room.
    return alpha * (1 + 2.0**-42)


@triton.jit
def ceil_bits(x):
    """The bits of the smallest float32 that is at least ``x >= 0``."""
    below = floor_to_float32(x)
    bits = below.to(tl.int32, bitcast=True)
    return tl.where(below.to(tl.float64) < x, bits + 1, bits).to(tl.int64)


@triton.jit
def bracket_kernel(
    losses, valid, first_statistics, last_counts, last_statistics, counts, statistics,
    pixels, fraction, fraction_low, least, least_low, q, q_low,
    G, GP: tl.constexpr, MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
    LAST_SHIFT: tl.constexpr, SHIFT: tl.constexpr, PASS: tl.constexpr,
):  # fmt: skip
    """Program g of a row: one share of a row's losses, counted by bins of the row's bracket.

    Leaves (BINS,) counts and, in the first pass, n, the largest loss and whether one is unsound;
    later, how many lie above the bracket, and anchor and sum of the powers below it. All programs
    of a row compute the same bracket from what the last pass left.
    """
    g = tl.program_id(0) % G
    row = (tl.program_id(0) // G).to(tl.int64)
    low = tl.full([], -1, tl.int64)
    high = tl.full([], 0x7FFFFFFF, tl.int64)
    if PASS > 0:
        _, m, largest = pool_size(
            first_statistics, row, fraction, fraction_low, least, least_low, G, GP
        )
        alpha = bound(
            last_counts, last_statistics, row, m, largest, q, q_low, G, GP, LAST_SHIFT, PASS == 1
        )
        alpha = tl.minimum(alpha, largest)
        width = 1.0 + 2.0 ** (LAST_SHIFT - 23)
        high = ceil_bits(alpha)
        low = floor_to_float32(alpha / width).to(tl.int32, bitcast=True).to(tl.int64) - 1

    bins = tl.arange(0, BINS)
    histogram = tl.zeros([BINS], tl.int32)
    existing = tl.zeros([BLOCK], tl.int32)
    above = tl.zeros([BLOCK], tl.int32)
    unsound = tl.zeros([BLOCK], tl.int32)
    largest_here = tl.zeros([BLOCK], tl.float32)
    anchor = tl.full([], 0.0, tl.float32)
    powers = tl.zeros([BLOCK], tl.float64)
    for block in range(g, tl.cdiv(pixels, BLOCK), G):
        loss, exists = load_pixels(losses, valid, row, block, pixels, MASKED, MARKED, BLOCK)
        bits = loss.to(tl.int32, bitcast=True).to(tl.int64)
        counted = exists & (bits > low) & (bits <= high)
        bin = tl.minimum(tl.maximum((bits - low - 1) >> SHIFT, 0), BINS - 1).to(tl.int32)
        # What is not counted is counted in bin 0, and taken off again.
        stray = tl.sum(1 - counted.to(tl.int32), 0)
        histogram += tl.histogram(tl.where(counted, bin, 0), BINS) - tl.where(bins == 0, stray, 0)
        if PASS == 0:
            sound = (loss >= 0) & (loss < float("inf"))
            existing += exists.to(tl.int32)
            unsound |= (exists & ~sound).to(tl.int32)
            largest_here = tl.maximum(largest_here, tl.where(exists & sound, loss, 0.0))
        else:
            above += (exists & (bits > high)).to(tl.int32)
            anchor, powers = add_powers(
                tl.where(exists & (bits <= low), loss, 0.0), anchor, powers, q
            )
    tl.store(counts + (row * G + g) * BINS + bins, histogram)
    out = statistics + (row * G + g) * STATISTICS
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
