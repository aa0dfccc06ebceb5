"""alpha* and the value of every row of losses, in two passes over them after a count (p = 1: four).

1. All losses are counted in 256 bins of equally many bit patterns: non-negative floats are ordered
   like their bits, and a bin is a binade. The kernel that computes the losses can count them.
2. With each loss rounded up to the last pattern of its bin, Algorithm 1 of Rota Bulò et al. 2017
   is a few sums over bins. alpha* is monotone in every loss and homogeneous in all, so this bound
   exceeds alpha* by at most the ratio of a bin's edges. One pass adds up the losses above the
   bound and the q-th powers of those certainly below alpha*, stores the losses in between, and
   counts these by finer bins. If there are too many, the next pass reads the row again.
3. The next pass does the same with what was stored. The program of a row that ends last runs
   Newton's iteration on the few losses that are left until none changes sides, and the last one of
   all reduces the values of the rows.

For p = 1, alpha* is an order statistic: four passes find all its bits, the last counts its ties.

Counts are integers, which can be added up in any order. Sums are stored by each program and added
up in a fixed order. The host never waits.
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

# Losses per step of a program: 8 per thread, read 4 at a time; four programs fit a multiprocessor.
BLOCK, WARPS = 1024, 4
# NVIDIA's compiler takes more registers for the prologue, and then only two programs fit.
REGISTERS = {} if torch.version.hip or torch.xpu.is_available() else {"maxnreg": 128}
# Enough programs to fill a GPU, and a limit per row: each pass adds up the previous one's partials.
_PROGRAMS, _PER_ROW = 512, 128
PARTIALS = tl.constexpr(_PER_ROW)
# There is room for one loss in this many: beside half-precision logits it would count. If more are
# within a binade or two of alpha*, the next pass reads the row again.
KEPT = 4
BINS = tl.constexpr(256)
# log2 of the bit patterns of a bin, count by count. The first is the one of the losses' kernel.
FIRST_SHIFT = tl.constexpr(23)
SHIFTS, TOP_K_SHIFTS = (23, 15), (23, 15, 7, 0)
# int64 numbers of a row and a count: the bins, and with the first count the number of losses that
# have no value, the bits of the largest, and how many programs of the row, and how many rows, have
# ended.
SLOTS = tl.constexpr(260)
UNSOUND, LARGEST, PROGRAMS_DONE, ROWS_DONE = (tl.constexpr(256 + i) for i in range(4))
# float64 numbers that each program stores in a pass: how many losses are above the bracket, their
# sum, the anchor and the sum of the powers below it (for p = 1 the number of ties), how many are
# kept, the two ends of the bracket.
FIELDS = tl.constexpr(8)
# Of the values of all rows: each for itself, their sum, the mean over those with a valid pixel.
REDUCTIONS = ("none", "sum", "mean")
EACH, MEAN = tl.constexpr(0), tl.constexpr(2)
UNREDUCED = tl.constexpr(-1)


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
def binned(bits, counted, low, SHIFT: tl.constexpr):
    """How many of the ``counted`` bit patterns above ``low`` are in each bin, int64."""
    bins = tl.arange(0, BINS)
    bin = tl.minimum(tl.maximum((bits - low - 1) >> SHIFT, 0), BINS - 1)
    # `tl.histogram` takes no mask in old releases: count the others in bin 0, then subtract.
    stray = tl.sum(1 - counted.to(tl.int32), 0)
    found = tl.histogram(tl.where(counted, bin, 0), BINS) - tl.where(bins == 0, stray, 0)
    return found.to(tl.int64)


@triton.jit
def tally(totals, row, loss, exists):
    """The first count of a block of losses (n,), none of which is -0.0."""
    bits = loss.to(tl.int32, bitcast=True)
    sound = exists & (loss >= 0) & (loss < float("inf"))
    count = binned(bits, sound, -1, FIRST_SHIFT)
    own = totals + row * SLOTS
    tl.atomic_add(own + tl.arange(0, BINS), count, mask=count != 0, sem="relaxed")
    largest = tl.max(tl.where(sound, bits, 0), 0).to(tl.int64)
    tl.atomic_max(own + LARGEST, largest, mask=largest > 0, sem="relaxed")
    unsound = tl.sum((exists & ~sound).to(tl.int32), 0).to(tl.int64)
    tl.atomic_add(own + UNSOUND, unsound, mask=unsound > 0, sem="relaxed")


# Sizes are not specialized: the kernels would be compiled anew for every batch and crop size.
@triton.jit(do_not_specialize=["units", "G"])
def count_kernel(
    losses, valid, totals, units, G, UNIT: tl.constexpr,
    MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program g of a row: the first count of its blocks g, g + G, ...

    A row has UNIT x ``units`` losses, which tells the compiler how many it can read at a time.
    """
    pixels = tl.full([], units, tl.int64) * UNIT
    row = (tl.program_id(0) // G).to(tl.int64)
    block = tl.program_id(0) % G
    while block < tl.cdiv(pixels, BLOCK):
        loss, exists = load_pixels(losses, valid, row, block, pixels, MASKED, MARKED, BLOCK)
        tally(totals, row, loss, exists)
        block += G


@triton.jit
def pool_size(totals, row, fraction, fraction_low, least, least_low):
    """n, m and the largest loss (NaN if the row is unsound), from the first count."""
    own = totals + row * SLOTS
    unsound = tl.load(own + UNSOUND)
    n = (tl.sum(tl.load(own + tl.arange(0, BINS)), 0) + unsound).to(tl.float64)
    largest = tl.load(own + LARGEST).to(tl.int32).to(tl.float32, bitcast=True).to(tl.float64)
    m = tl.maximum(joined(fraction, fraction_low) * n, joined(least, least_low))
    return n, tl.minimum(m, n), tl.where(unsound > 0, float("nan"), largest)


@triton.jit
def load_parts(parts, row, field, G):
    """One field of each of the row's G programs, 0 beyond G."""
    g = tl.arange(0, PARTIALS)
    return tl.load(parts + (row * G + g) * FIELDS + field, mask=g < G, other=0.0)


@triton.jit
def settled(parts, size, row, q, G, PASSES: tl.constexpr, TOP_K: tl.constexpr):
    """Of the first PASSES passes: number and sum of the losses above; anchor and powers below."""
    above = tl.full([], 0.0, tl.float64)
    over = tl.full([], 0.0, tl.float64)
    anchor = tl.full([], 0.0, tl.float64)
    power = tl.full([], 0.0, tl.float64)
    for i in tl.static_range(PASSES):
        own = parts + i * size
        above += tl.sum(load_parts(own, row, 0, G), 0)
        over += tl.sum(load_parts(own, row, 1, G), 0)
        if not TOP_K:
            near, more = combine_powers(load_parts(own, row, 2, G), load_parts(own, row, 3, G), q)
            top = tl.maximum(anchor, near)
            narrow = top.to(tl.float32)
            power = power * relative_power(anchor.to(tl.float32), narrow, q).to(tl.float64)
            power += more * relative_power(near.to(tl.float32), narrow, q).to(tl.float64)
            anchor = top
    return above, over, anchor, power


@triton.jit
def order_bin(totals, low, rank, SHIFT: tl.constexpr):
    """The first bit pattern of the bin that holds the ``rank``-th largest counted loss.

    If there is no such loss, the result is meaningless.
    """
    count = tl.load(totals + tl.arange(0, BINS)).to(tl.float64)
    at_least = tl.sum(count, 0) - tl.cumsum(count, 0) + count
    found = tl.maximum(tl.sum((at_least >= rank).to(tl.int32), 0) - 1, 0)
    return low + 1 + (found.to(tl.int64) << SHIFT)


@triton.jit
def log_powers(bins, low, high, wide_q, SHIFT: tl.constexpr):
    """The power q, as a logarithm, of the largest loss of each bin of (low, high]."""
    last = low + ((bins + 1).to(tl.int64) << SHIFT)
    last = tl.maximum(tl.where(bins >= BINS - 1, high, tl.minimum(last, high)), 1)
    # Bin 0 of the first count counts as power 0: it holds the zeros and losses below 2^-126.
    return wide_q * tl.log(last.to(tl.int32).to(tl.float32, bitcast=True).to(tl.float64))


@triton.jit
def bound(totals, low, high, room, log_below, wide_q, SHIFT: tl.constexpr):
    """alpha* of the row in float64, with every counted loss rounded up.

    Algorithm 1, lines 6-12, on values with multiplicity. "The losses of bin k and above are capped"
    is monotone in k, so the first such bin is found in four steps, each among four bins.
    """
    bins = tl.arange(0, BINS)
    count = tl.load(totals + bins).to(tl.float64)
    log_power = log_powers(bins, low, high, wide_q, SHIFT)
    end = tl.full([], 0, tl.int32)  # BINS: no bin is capped
    width = tl.full([], BINS // 4, tl.int32)
    while width > 0:
        k = end + (tl.arange(0, 4) + 1) * width - 1
        here = log_powers(k, low, high, wide_q, SHIFT)
        apart = tl.minimum(log_power[None, :] - here[:, None], 0.0)
        lower = bins[None, :] < k[:, None]
        left = room - tl.sum(tl.where(lower, 0.0, count[None, :]), 1)
        mass = tl.sum(tl.where(lower, count[None, :] * tl.exp(apart), 0.0), 1)
        mass += tl.exp(tl.minimum(log_below - here, 700.0))
        # eta > 0 at the bin's value, after subtracting its own losses from both sides.
        free = tl.sum(((left <= mass) & (k < BINS)).to(tl.int32), 0)
        end += free * width
        width //= 4
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
def last_bracket(last, row, G):
    """The bits of both ends of the row's bracket in a pass, of which ``last`` are the partials."""
    own = last + row * G * FIELDS
    return tl.load(own + 5).to(tl.int32), tl.load(own + 6).to(tl.int32)


@triton.jit
def between(loss, exists, low, high):
    """Which of the losses a pass with the bracket (low, high] kept, or had no room for."""
    bits = loss.to(tl.int32, bitcast=True)
    return exists & (bits > low) & (bits <= high)


@triton.jit
def load_kept(segment, block, end, BLOCK: tl.constexpr):
    """A block of the losses that a program kept, and which of them exist."""
    place = tl.full([], block, tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = place < end
    return tl.load(segment + place, mask=exists, other=0.0), exists


@triton.jit
def bracket(
    totals, counted, parts, size, row, n, m, largest, q, q_low, G,
    SHIFT: tl.constexpr, PASS: tl.constexpr, LAST: tl.constexpr, TOP_K: tl.constexpr,
):  # fmt: skip
    """The bits ``(low, high]`` between which alpha* is known to be, from the counts before PASS.

    In the last pass, ``high`` are the bits of the threshold of which Newton's iteration starts.
    """
    low = tl.full([], -1, tl.int64)
    high = largest.to(tl.float32).to(tl.int32, bitcast=True).to(tl.int64)
    if PASS > 0:
        first, end = last_bracket(parts + (PASS - 1) * size, row, G)
        low, high = first.to(tl.int64), end.to(tl.int64)
    above, _, anchor, power = settled(parts, size, row, q, G, PASS, TOP_K)
    own = counted + row * SLOTS
    if TOP_K:
        found = order_bin(own, low, tl.floor(m) + 1 - above, SHIFT)
        if LAST:
            found = tl.where(tl.floor(m) < n, found, 0)
            return found - 1, found
        return found - 1, found - 1 + (1 << SHIFT)
    wide_q = joined(q, q_low)
    positive = anchor > 0
    log_below = tl.log(tl.where(positive, power, 1.0))
    log_below += wide_q * tl.log(tl.where(positive, anchor, 1.0))
    log_below = tl.where(positive, log_below, float("-inf"))
    # A pool without pixels solves to 0, not to 0/0.
    room = tl.maximum(m, 1e-300) - above
    alpha = bound(own, low, high, room, log_below, wide_q, SHIFT)
    if LAST:
        # Twice the relative width of a bin: the last bin has a few patterns more than the others.
        low = tl.maximum(certainly_below(alpha, 1.0 + 2.0 ** (SHIFT - 22)), 0)
        return low, floor_to_float32(alpha).to(tl.int32, bitcast=True).to(tl.int64)
    alpha = tl.minimum(alpha, largest)
    below = floor_to_float32(alpha)
    high = below.to(tl.int32, bitcast=True).to(tl.int64) + (below.to(tl.float64) < alpha)
    return certainly_below(alpha, 1.0 + 2.0 ** (SHIFT - 23)), high


@triton.jit(do_not_specialize=["rows", "units", "G", "GP"])
def sift_kernel(
    losses, valid, totals, parts, kept, packed, value,
    rows, units, capacity, fraction, fraction_low, least, least_low, q, q_low,
    inverse_p, inverse_p_low, G, GP, ROWS: tl.constexpr, UNIT: tl.constexpr,
    MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
    SHIFT: tl.constexpr, NEXT_SHIFT: tl.constexpr, PASS: tl.constexpr, LAST: tl.constexpr,
    TOP_K: tl.constexpr, REDUCTION: tl.constexpr,
):  # fmt: skip
    """Program g of a row: sift the losses that the last pass kept, or in pass 0 all of them.

    ``kept`` (R, G, capacity) receives, in order, those between the ends of the bracket, for the
    next pass or for Newton's iteration. LAST: the program that ends last finishes the row.
    """
    pixels = tl.full([], units, tl.int64) * UNIT
    g = tl.program_id(0) % G
    row = (tl.program_id(0) // G).to(tl.int64)
    size = tl.full([], rows, tl.int64) * G * FIELDS
    counted = totals + PASS * (tl.full([], rows, tl.int64) * SLOTS)
    n, m, largest = pool_size(totals, row, fraction, fraction_low, least, least_low)
    wide_low, wide_high = bracket(
        totals, counted, parts, size, row, n, m, largest, q, q_low, G, SHIFT, PASS, LAST, TOP_K
    )  # fmt: skip
    low, high = wide_low.to(tl.int32), wide_high.to(tl.int32)
    segment = kept + (row * G + g) * capacity
    own = parts + PASS * size + (row * G + g) * FIELDS
    block, step, end = g, G * 1, pixels
    again = True
    if PASS > 0:
        last_low, last_high = last_bracket(parts + (PASS - 1) * size, row, G)
        again = tl.max(load_parts(parts + (PASS - 1) * size, row, 4, G), 0) > capacity
        if not again:
            block, step, end = g * 0, G * 0 + 1, tl.load(own - size + 4).to(tl.int64)
    bins = tl.arange(0, BINS)
    histogram = tl.zeros([BINS], tl.int64)
    above = tl.zeros([BLOCK], tl.int32)
    over = tl.zeros([BLOCK], tl.float64)
    ties = tl.zeros([BLOCK], tl.int32)
    anchor = tl.full([], 0.0, tl.float32)
    powers = tl.zeros([BLOCK], tl.float64)
    held = tl.full([], 0, tl.int32)
    while block < tl.cdiv(end, BLOCK):
        if again:
            loss, exists = load_pixels(losses, valid, row, block, pixels, MASKED, MARKED, BLOCK)
            if PASS > 0:
                exists = between(loss, exists, last_low, last_high)
        else:
            loss, exists = load_kept(segment, block, end, BLOCK)
        bits = loss.to(tl.int32, bitcast=True)
        capped = exists & (bits > high)
        above += capped.to(tl.int32)
        over += tl.where(capped, loss, 0.0).to(tl.float64)
        near = exists & (bits > low) & (bits <= high)
        if TOP_K and LAST:
            ties += near.to(tl.int32)
        else:
            many = tl.sum(near.to(tl.int32), 0)
            if many > 0:
                # Reads come first: a place is known once all of a block are.
                place = held + tl.cumsum(near.to(tl.int32), 0) - 1
                tl.store(segment + place, loss, mask=near & (place < capacity))
                held += many
        if not LAST:
            histogram += binned(bits, near, low, NEXT_SHIFT)
        if not TOP_K:
            anchor, powers = add_powers(
                tl.where(exists & (bits <= low), loss, 0.0), anchor, powers, q
            )
        block += step
    tl.store(own, tl.sum(above, 0).to(tl.float64))
    tl.store(own + 1, tl.sum(over, 0))
    tl.store(own + 2, anchor.to(tl.float64))
    if TOP_K:
        tl.store(own + 3, tl.sum(ties, 0).to(tl.float64))
    else:
        tl.store(own + 3, tl.sum(powers, 0))
    tl.store(own + 4, held.to(tl.float64))
    tl.store(own + 5, wide_low.to(tl.float64))
    tl.store(own + 6, wide_high.to(tl.float64))
    if LAST:
        tl.debug_barrier()  # what this program stores comes before its ticket
        ended = tl.atomic_add(totals + row * SLOTS + PROGRAMS_DONE, 1, sem="acq_rel")
        if ended == G - 1:
            finish(
                losses, valid, totals, parts, kept, packed, value,
                rows, row, pixels, capacity, n, m, largest, high, q, q_low,
                inverse_p, inverse_p_low, G, GP, ROWS, MASKED, MARKED, BLOCK, PASS, TOP_K,
                REDUCTION,
            )  # fmt: skip
    else:
        tl.atomic_add(
            counted + (rows + row) * SLOTS + bins, histogram, mask=histogram != 0, sem="relaxed"
        )


@triton.jit
def newton(
    losses, valid, last, kept, capacity, row, pixels, m,
    settled_above, settled_over, settled_anchor, settled_power, alpha, q, q_low,
    G, GP, MASKED: tl.constexpr, MARKED: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """alpha*, the sum of the losses above it, and m minus their number.

    ``alpha <- (sum_{l <= alpha} l^q / (m - #{l > alpha}))^(1/q)``, Eq. 9 solved for the set J of
    the current alpha. Starting right of the root, the steps are monotone; stop when no loss changes
    sides.
    """
    settled_room = tl.maximum(m, 1e-300) - settled_above
    most = tl.max(load_parts(last, row, 4, G), 0).to(tl.int64)
    low, high = last_bracket(last, row, G)
    again = most > capacity  # nearly equal losses: read the row instead
    step = LANES // GP
    if again:
        most, step = pixels, LANES
    # Lane i reads the kept losses i // GP, i // GP + LANES / GP, ... of program i % GP.
    lane = tl.arange(0, LANES)
    g = lane % GP
    held = tl.load(last + (row * G + g) * FIELDS + 4, mask=g < G, other=0.0).to(tl.int32)
    segment = kept + (row * G + g) * capacity
    capped_sum = settled_over
    room = settled_room
    moving = tl.full([], 1, tl.int32)
    while moving > 0:
        threshold = floor_to_float32(alpha)
        above = tl.zeros([LANES], tl.int32)
        over = tl.zeros([LANES], tl.float64)
        anchor = tl.full([], 0.0, tl.float32)
        powers = tl.zeros([LANES], tl.float64)
        start = tl.full([], 0, tl.int64)
        while start < most:
            if again:
                loss, exists = load_pixels(
                    losses, valid, row, start // LANES, pixels, MASKED, MARKED, LANES
                )
                loss = tl.where(between(loss, exists, low, high), loss, 0.0)
            else:
                slot = start + lane // GP
                loss = tl.load(segment + slot, mask=slot < held, other=0.0)
            capped = loss > threshold
            above += capped.to(tl.int32)
            over += tl.where(capped, loss, 0.0).to(tl.float64)
            anchor, powers = add_powers(tl.where(capped, 0.0, loss), anchor, powers, q)
            start += step
        capped_sum = settled_over + tl.sum(over, 0)
        room = settled_room - tl.sum(above, 0).to(tl.float64)
        near = anchor.to(tl.float64)
        top = tl.maximum(near, settled_anchor)
        narrow = top.to(tl.float32)
        power = tl.sum(powers, 0) * relative_power(anchor, narrow, q).to(tl.float64)
        share = relative_power(settled_anchor.to(tl.float32), narrow, q).to(tl.float64)
        power += settled_power * share
        positive = top > 0
        ratio = tl.where(positive, power, 1.0) / tl.where(positive, room, 1.0)
        alpha = tl.where(positive, top * tl.exp(tl.log(ratio) / joined(q, q_low)), 0.0)
        # If alpha is not below the largest loss under the last threshold, no loss changes
        # sides. The losses that were not kept are certainly below alpha*. A NaN ends the loop.
        moving = (alpha < near).to(tl.int32)
    return alpha, capped_sum, room


@triton.jit
def finish(
    losses, valid, totals, parts, kept, packed, value,
    rows, row, pixels, capacity, n, m, largest, high, q, q_low, inverse_p, inverse_p_low,
    G, GP, ROWS: tl.constexpr, MASKED: tl.constexpr, MARKED: tl.constexpr,
    LANES: tl.constexpr, PASS: tl.constexpr, TOP_K: tl.constexpr, REDUCTION: tl.constexpr,
):  # fmt: skip
    """Write a row's value (Eq. 10), alpha, cap, tie, n and m; with the last row, the reduced value.

    The sum over rows is in float64, in which that of a few float32 numbers is exact in any order.
    """
    size = tl.full([], rows, tl.int64) * G * FIELDS
    last = parts + PASS * size
    above, over, anchor, power = settled(parts, size, row, q, G, PASS + 1, TOP_K)
    alpha = high.to(tl.float32, bitcast=True).to(tl.float64)
    if TOP_K:
        capped_sum = over
        room = m - above
        ties = tl.sum(load_parts(last, row, 3, G), 0)
        # Theorem 2 allows any distribution over ties; an even one is permutation-equivariant.
        share = tl.where(alpha > 0, room / tl.maximum(ties, 1.0), 0.0)
    else:
        alpha, capped_sum, room = newton(
            losses, valid, last, kept, capacity, row, pixels, m, above, over, anchor, power,
            alpha, q, q_low, G, GP, MASKED, MARKED, LANES,
        )  # fmt: skip
        share = tl.full([], 1.0, tl.float64)
    occupied = tl.maximum(n, 1.0)
    ratio = tl.where(n > 0, occupied / tl.maximum(m, 1e-300), 1.0)
    # tau = (n / m)^(1/p) / n; for p = 1 use 1 / m directly, without rounding by the logarithm.
    if TOP_K:
        cap = 1 / tl.maximum(m, 1e-300)
    else:
        cap = tl.exp(joined(inverse_p, inverse_p_low) * tl.log(ratio)) / occupied
    cap = tl.where(n > 0, cap, 0.0)
    of_row = tl.where(largest == largest, cap * (capped_sum + room * alpha), float("nan"))
    tl.store(packed + row, of_row)
    tl.store(packed + rows + row, alpha)
    tl.store(packed + 2 * rows + row, cap)
    tl.store(packed + 3 * rows + row, cap * share)
    tl.store(packed + 4 * rows + row, n)
    tl.store(packed + 5 * rows + row, m)
    if REDUCTION == EACH:
        tl.store(value + row, of_row.to(tl.float32))
    elif REDUCTION != UNREDUCED:
        tl.debug_barrier()
        ended = tl.atomic_add(totals + ROWS_DONE, 1, sem="acq_rel")
        if ended == rows - 1:
            every = tl.arange(0, ROWS)
            each = tl.load(packed + every, mask=every < rows, other=0.0).to(tl.float32)
            divisor = occupied_rows(packed, rows, ROWS, REDUCTION)
            tl.store(value, (tl.sum(each.to(tl.float64), 0) / divisor).to(tl.float32))


@triton.jit
def occupied_rows(packed, rows, ROWS: tl.constexpr, REDUCTION: tl.constexpr):
    """The divisor of the sum over rows, in float64."""
    divisor = tl.full([], 1.0, tl.float64)
    if REDUCTION == MEAN:
        row = tl.arange(0, ROWS)
        n = tl.load(packed + 4 * rows + row, mask=row < rows, other=0.0)
        divisor = tl.maximum(tl.sum((n > 0).to(tl.int32), 0), 1).to(tl.float64)
    return divisor


@triton.jit
def grad_of_pool(grad, packed, rows, pool, ROWS: tl.constexpr, REDUCTION: tl.constexpr):
    """The gradient with respect to a pool's value, from that of the reduced one."""
    if REDUCTION == EACH:
        return tl.load(grad + pool)
    share = tl.load(grad).to(tl.float64) / occupied_rows(packed, rows, ROWS, REDUCTION)
    return share.to(tl.float32)


def reduction_number(reduction: str | None) -> int:
    """REDUCTION of the kernels; None: there is no value to reduce."""
    return int(UNREDUCED.value) if reduction is None else REDUCTIONS.index(reduction)


def row_lanes(rows: int, reduction: str | None) -> int:
    """ROWS of the kernels that divide by the number of rows: few values, each is compiled for."""
    return max(16, triton.next_power_of_2(rows)) if reduction in ("sum", "mean") else 1


class Solver(NamedTuple):
    """The launches for (R, N) losses, and the sizes of what they leave to each other."""

    counting: Launch
    passes: tuple[Launch, ...]
    rows: int
    programs: int  # of a row
    capacity: int  # losses that a program can keep
    blank: Tensor  # one number, in the shape of the int64 counts

    def totals(self) -> Tensor:
        """New int64 counts, all of them zero."""
        return torch.zeros_like(self.blank, memory_format=torch.contiguous_format)

    @property
    def parts(self) -> tuple[int, ...]:
        """The shape of the float64 partial sums."""
        return len(self.passes), self.rows, self.programs, FIELDS.value

    @property
    def kept(self) -> tuple[int, ...]:
        """The shape of the float32 losses that are kept."""
        return self.rows, self.programs, self.capacity

    def bound(self, *, counting: bool) -> tuple[Callable[..., None], int] | None:
        """The passes, behind the first count or with it, and the bytes of their workspace.

        ``(stream, losses, valid, totals, workspace, packed, value)``, all by addresses; None before
        all have been launched.
        """
        first = self.counting.bound() if counting else None
        found = [x.bound() for x in self.passes]
        launches = [x for x in found if x is not None]
        if len(launches) < len(found) or (counting and first is None):
            return None
        parts = 8 * math.prod(self.parts)

        def run(
            stream: int, losses: int, valid: int | None, totals: int, workspace: int, packed: int,
            value: int,
        ) -> None:  # fmt: skip
            if first is not None:
                first(stream, losses, valid, totals)
            for launch in launches:
                launch(stream, losses, valid, totals, workspace, workspace + parts, packed, value)

        return run, parts + 4 * math.prod(self.kept)


def find_threshold(
    losses: Tensor, valid: Tensor | None, weighting: WeightingSet, marked: bool
) -> Tensor:
    """The (6, R) packed threshold of (R, N) contiguous float32 losses."""
    packed = torch.empty(6, losses.shape[0], dtype=torch.float64, device=losses.device)
    if losses.shape[0] == 0:
        return packed
    run = solver(losses, valid is not None, weighting, marked, None)
    totals = run.totals()
    with on_device_of(losses):
        run.counting(losses, valid, totals)
        sift(run, losses, valid, totals, packed, None)
    return packed


def sift(
    run: Solver,
    losses: Tensor,
    valid: Tensor | None,
    totals: Tensor,
    packed: Tensor,
    value: Tensor | None,
) -> None:
    """All passes, behind the first count."""
    parts = losses.new_empty(run.parts, dtype=torch.float64)
    kept = losses.new_empty(run.kept, dtype=torch.float32)
    for launch in run.passes:
        launch(losses, valid, totals, parts, kept, packed, value)


@by_form(tensors=1)
def solver(
    losses: Tensor, masked: bool, weighting: WeightingSet, marked: bool, reduction: str | None
) -> Solver:
    """The launches for (R, N) losses; without ``reduction`` they write no value."""
    (rows, pixels), top_k = losses.shape, weighting.is_top_k
    # Depends on the shape alone, so that results are bit-identical on every run and device.
    blocks = triton.cdiv(pixels, BLOCK)
    programs = max(1, min(_PER_ROW, max(8, _PROGRAMS // rows), blocks))
    capacity = triton.cdiv(blocks, programs * KEPT) * BLOCK
    shifts = TOP_K_SHIFTS if top_k else SHIFTS
    q = 1.0 if top_k else weighting.q  # p = 1 needs no powers
    numbers = (
        *split(weighting.fraction), *split(weighting.least), *split(q), *split(1 / weighting.p)
    )  # fmt: skip
    unit = math.gcd(4, pixels)  # losses of 128 bits
    units, grid = pixels // unit, (programs * rows,)
    reading: dict[str, Any] = {
        "UNIT": unit, "MASKED": masked, "MARKED": marked, "BLOCK": BLOCK, "num_warps": WARPS
    }  # fmt: skip
    count = Launch(count_kernel, grid, units, programs, **reading)

    def sifting(i: int, reduction: str | None) -> Launch:
        return Launch(
            sift_kernel, grid, rows, units, capacity, *numbers, programs,
            triton.next_power_of_2(programs), ROWS=row_lanes(rows, reduction),
            SHIFT=shifts[i], NEXT_SHIFT=(*shifts, 0)[i + 1], PASS=i, LAST=i == last, TOP_K=top_k,
            REDUCTION=reduction_number(reduction),
            **reading, **REGISTERS,
        )  # fmt: skip

    # The first pass reads all losses, the others what is kept; the last one reduces.
    last = len(shifts) - 1
    passes = (*(sifting(i, None) for i in range(last)), sifting(last, reduction))
    counts = (len(shifts), rows, SLOTS.value)
    blank = torch.zeros((), dtype=torch.int64, device=losses.device).expand(counts)
    return Solver(count, passes, rows, programs, capacity, blank)
