"""p = 1: alpha* is an order statistic, found by integer counts alone, 7 or 8 bits a launch."""

from __future__ import annotations

import triton
import triton.language as tl

from lossmaxpool.ops.backends.triton.bracket import (
    BINS,
    STATISTICS,
    load_counts,
    load_partials,
    pool_size,
)
from lossmaxpool.ops.backends.triton.pool_pixels import load_pixels

# log2 of the bit patterns of a bin, pass by pass. The first pass is the bracket's own.
SHIFTS = (23, 15, 7, 0)
SPLIT = tl.constexpr(4)  # float64 numbers that a program of the last pass leaves


@triton.jit
def narrowed(counts, statistics, row, m, G, SHIFT: tl.constexpr, FIRST: tl.constexpr):
    """The leading bits of the loss number floor(m) + 1, and its number among those that share them.

    Where there is no such loss, both mean nothing.
    """
    if FIRST:
        prefix = tl.full([], 0, tl.int64)
        rank = tl.floor(m) + 1
    else:
        prefix = tl.load(statistics + row * G * STATISTICS + 3).to(tl.int64)
        rank = tl.load(statistics + row * G * STATISTICS + 4)
    count = load_counts(counts, row, G)
    bins = tl.arange(0, BINS)
    total = tl.sum(count, 0)
    at_least = total - tl.cumsum(count, 0) + count
    found = tl.maximum(tl.sum((at_least >= rank).to(tl.int32), 0) - 1, 0)
    above = tl.sum(tl.where(bins > found, count, 0.0), 0)
    return prefix | (found.to(tl.int64) << SHIFT), rank - above


@triton.jit
def order_kernel(
    losses, valid, first_statistics, last_counts, last_statistics, counts, statistics,
    pixels, fraction, fraction_low, least, least_low,
    G, GP: tl.constexpr, MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
    LAST_SHIFT: tl.constexpr, SHIFT: tl.constexpr, FIRST: tl.constexpr,
):  # fmt: skip
    """Program g of a row: of the losses that share the bits found so far, counts by the next."""
    g = tl.program_id(0) % G
    row = (tl.program_id(0) // G).to(tl.int64)
    _, m, _ = pool_size(first_statistics, row, fraction, fraction_low, least, least_low, G, GP)
    prefix, rank = narrowed(last_counts, last_statistics, row, m, G, LAST_SHIFT, FIRST)
    bins = tl.arange(0, BINS)
    histogram = tl.zeros([BINS], tl.int32)
    for block in range(g, tl.cdiv(pixels, BLOCK), G):
        loss, exists = load_pixels(losses, valid, row, block, pixels, MASKED, MARKED, BLOCK)
        bits = loss.to(tl.int32, bitcast=True).to(tl.int64)
        counted = exists & ((bits >> LAST_SHIFT) == (prefix >> LAST_SHIFT))
        bin = ((bits >> SHIFT) & ((1 << (LAST_SHIFT - SHIFT)) - 1)).to(tl.int32)
        # What is not counted is counted in bin 0, and taken off again.
        stray = tl.sum(1 - counted.to(tl.int32), 0)
        histogram += tl.histogram(tl.where(counted, bin, 0), BINS) - tl.where(bins == 0, stray, 0)
    tl.store(counts + (row * G + g) * BINS + bins, histogram)
    out = statistics + (row * G + g) * STATISTICS
    tl.store(out + 3, prefix.to(tl.float64))
    tl.store(out + 4, rank)


@triton.jit
def order_split_kernel(
    losses, valid, first_statistics, last_counts, last_statistics, parts,
    pixels, fraction, fraction_low, least, least_low,
    G, GP: tl.constexpr, MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program g of a row: number and sum of the losses above alpha*, and how many equal it."""
    g = tl.program_id(0) % G
    row = (tl.program_id(0) // G).to(tl.int64)
    n, m, _ = pool_size(first_statistics, row, fraction, fraction_low, least, least_low, G, GP)
    prefix, _ = narrowed(last_counts, last_statistics, row, m, G, 0, False)
    alpha = tl.where(tl.floor(m) < n, prefix, 0).to(tl.int32).to(tl.float32, bitcast=True)
    above = tl.zeros([BLOCK], tl.int32)
    ties = tl.zeros([BLOCK], tl.int32)
    over = tl.zeros([BLOCK], tl.float64)
    for block in range(g, tl.cdiv(pixels, BLOCK), G):
        loss, exists = load_pixels(losses, valid, row, block, pixels, MASKED, MARKED, BLOCK)
        capped = exists & (loss > alpha)
        above += capped.to(tl.int32)
        ties += (exists & (loss == alpha)).to(tl.int32)
        over += tl.where(capped, loss, 0.0).to(tl.float64)
    out = parts + (row * G + g) * SPLIT
    tl.store(out, tl.sum(above, 0).to(tl.float64))
    tl.store(out + 1, tl.sum(over, 0))
    tl.store(out + 2, tl.sum(ties, 0).to(tl.float64))
    tl.store(out + 3, alpha.to(tl.float64))


@triton.jit
def order_finish_kernel(
    first_statistics, parts, packed, rows, fraction, fraction_low, least, least_low,
    G, GP: tl.constexpr,
):  # fmt: skip
    """Program: one row. Writes its value (Eq. 10 with tau = 1 / m), alpha, cap, tie, n and m."""
    row = tl.program_id(0).to(tl.int64)
    n, m, largest = pool_size(
        first_statistics, row, fraction, fraction_low, least, least_low, G, GP
    )
    room = m - tl.sum(load_partials(parts, row, 0, G, GP, SPLIT), 0)
    capped_sum = tl.sum(load_partials(parts, row, 1, G, GP, SPLIT), 0)
    ties = tl.sum(load_partials(parts, row, 2, G, GP, SPLIT), 0)
    alpha = tl.load(parts + row * G * SPLIT + 3)
    cap = tl.where(n > 0, 1 / tl.maximum(m, 1e-300), 0.0)
    # Theorem 2 allows any distribution over the ties; the even one does not depend on their order.
    share = tl.where(alpha > 0, room / tl.maximum(ties, 1.0), 0.0)
    value = tl.where(largest == largest, cap * (capped_sum + room * alpha), float("nan"))
    tl.store(packed + row, value)
    tl.store(packed + rows + row, alpha)
    tl.store(packed + 2 * rows + row, cap)
    tl.store(packed + 3 * rows + row, cap * share)
    tl.store(packed + 4 * rows + row, n)
    tl.store(packed + 5 * rows + row, m)
