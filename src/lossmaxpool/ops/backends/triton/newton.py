"""Newton's iteration for alpha*, from the right, one launch a step."""

from __future__ import annotations

import triton
import triton.language as tl

from lossmaxpool.ops.backends.triton.bracket import bound, load_partials, pool_size
from lossmaxpool.ops.backends.triton.pool_pixels import load_pixels
from lossmaxpool.ops.backends.triton.pool_weight import floor_to_float32
from lossmaxpool.ops.backends.triton.power_sum import add_powers, combine_powers
from lossmaxpool.ops.backends.triton.precision import joined

FIELDS = tl.constexpr(8)  # float64 numbers that a program leaves


@triton.jit
def following(steps, row, m, q, q_low, G, GP: tl.constexpr):
    """What the last step tells: next alpha, capped sum, room, and whether the row has settled.

    ``alpha <- (sum_{l <= alpha} l^q / (m - #{l > alpha}))^(1/q)``, Rota Bulò et al. 2017, Eq. 9
    solved for the set J_alpha of the current alpha.
    """
    room = tl.maximum(m, 1e-300) - tl.sum(load_partials(steps, row, 0, G, GP, FIELDS), 0)
    capped_sum = tl.sum(load_partials(steps, row, 1, G, GP, FIELDS), 0)
    anchor, power = combine_powers(
        load_partials(steps, row, 2, G, GP, FIELDS), load_partials(steps, row, 3, G, GP, FIELDS), q
    )
    positive = anchor > 0
    ratio = tl.where(positive, power, 1.0) / tl.where(positive, room, 1.0)
    alpha = tl.where(positive, anchor * tl.exp(tl.log(ratio) / joined(q, q_low)), 0.0)
    # Not below the largest loss under the last threshold: no loss changes sides. NaN settles.
    settled = 1.0 - (positive & (alpha < anchor)).to(tl.float64)
    carried = steps + row * G * FIELDS + 4
    done = tl.load(carried) > 0
    alpha = tl.where(done, tl.load(carried + 1), alpha)
    capped_sum = tl.where(done, tl.load(carried + 2), capped_sum)
    room = tl.where(done, tl.load(carried + 3), room)
    return alpha, capped_sum, room, tl.where(done, 1.0, settled)


@triton.jit
def newton_kernel(
    losses, valid, first_statistics, last_counts, last_statistics, last_steps, steps,
    pixels, fraction, fraction_low, least, least_low, q, q_low,
    G, GP: tl.constexpr, MASKED: tl.constexpr, MARKED: tl.constexpr, BLOCK: tl.constexpr,
    LAST_SHIFT: tl.constexpr, FIRST: tl.constexpr,
):  # fmt: skip
    """Program g of a row: one share of a row's losses, split at the row's threshold.

    Leaves the number and sum of the losses above it and anchor and sum of the powers below it; of
    a row that has settled, a mark and its solution instead.
    """
    g = tl.program_id(0) % G
    row = (tl.program_id(0) // G).to(tl.int64)
    _, m, largest = pool_size(
        first_statistics, row, fraction, fraction_low, least, least_low, G, GP
    )
    capped_sum = tl.full([], 0.0, tl.float64)
    room = tl.full([], 0.0, tl.float64)
    settled = tl.full([], 0.0, tl.float64)
    if FIRST:
        alpha = bound(last_counts, last_statistics, row, m, largest, q, q_low, G, GP, LAST_SHIFT,
                      False)  # fmt: skip
    else:
        alpha, capped_sum, room, settled = following(last_steps, row, m, q, q_low, G, GP)
    threshold = floor_to_float32(alpha)
    above = tl.zeros([BLOCK], tl.int32)
    over = tl.zeros([BLOCK], tl.float64)
    anchor = tl.full([], 0.0, tl.float32)
    powers = tl.zeros([BLOCK], tl.float64)
    end = tl.where(settled > 0, 0, tl.cdiv(pixels, BLOCK)).to(tl.int32)
    for block in range(g, end, G):
        loss, exists = load_pixels(losses, valid, row, block, pixels, MASKED, MARKED, BLOCK)
        capped = exists & (loss > threshold)
        above += capped.to(tl.int32)
        over += tl.where(capped, loss, 0.0).to(tl.float64)
        anchor, powers = add_powers(tl.where(exists & ~capped, loss, 0.0), anchor, powers, q)
    out = steps + (row * G + g) * FIELDS
    tl.store(out, tl.sum(above, 0).to(tl.float64))
    tl.store(out + 1, tl.sum(over, 0))
    tl.store(out + 2, anchor.to(tl.float64))
    tl.store(out + 3, tl.sum(powers, 0))
    tl.store(out + 4, settled)
    tl.store(out + 5, alpha)
    tl.store(out + 6, capped_sum)
    tl.store(out + 7, room)


@triton.jit
def finish_kernel(
    first_statistics, last_steps, packed,
    rows, fraction, fraction_low, least, least_low, q, q_low, inverse_p, inverse_p_low,
    G, GP: tl.constexpr,
):  # fmt: skip
    """Program: one row. Writes its value (Eq. 10), alpha, cap, tie, n and m."""
    row = tl.program_id(0).to(tl.int64)
    n, m, largest = pool_size(
        first_statistics, row, fraction, fraction_low, least, least_low, G, GP
    )
    alpha, capped_sum, room, _ = following(last_steps, row, m, q, q_low, G, GP)
    occupied = tl.maximum(n, 1.0)
    ratio = tl.where(n > 0, occupied / tl.maximum(m, 1e-300), 1.0)
    cap = tl.exp(joined(inverse_p, inverse_p_low) * tl.log(ratio)) / occupied
    cap = tl.where(n > 0, cap, 0.0)
    value = tl.where(largest == largest, cap * (capped_sum + room * alpha), float("nan"))
    tl.store(packed + row, value)
    tl.store(packed + rows + row, alpha)
    tl.store(packed + 2 * rows + row, cap)
    tl.store(packed + 3 * rows + row, cap)
    tl.store(packed + 4 * rows + row, n)
    tl.store(packed + 5 * rows + row, m)
