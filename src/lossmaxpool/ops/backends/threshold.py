"""The threshold alpha* and the weights w* of every row of losses, without sorting, in torch.

For p > 1, alpha* is the largest root of ``F(t) = sum(min(t, l^q)) - m t`` at ``t = alpha^q`` (Eq. 9
of Rota Bulò et al. 2017). F is concave and piecewise linear: Newton's iteration, started to the
right of the root, decreases monotonically, and has reached the root once a step moves no loss from
one side of alpha to the other.

1. ``_coarse_bound``: Algorithm 1 on a histogram of the losses' bits gives an upper bound that is at
   most 1/32 too large.
2. ``_fine_bound``, only for p near 1: another histogram inside that bracket.
3. ``_newton_step``, two to four times.

For p = 1, alpha* is an order statistic, found by radix (``kth_largest``). Notation: R rows (pools),
N losses of a row, K bins.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossmaxpool.ops.ranks import Ranks, wide
from lossmaxpool.ops.weighting_set import WeightingSet

# Exponent and leading mantissa bits of a finite float32: about 2^13 bins, their edges 2^-5 apart.
_MANTISSA_BITS = 5
_SHIFT = 23 - _MANTISSA_BITS
_COARSE_BINS = 0xFF << _MANTISSA_BITS
COARSE_WIDTH = 2.0**-_MANTISSA_BITS
FINE_BINS = 1 << 12

_DIGIT_BITS = 16
_DIGITS = 1 << _DIGIT_BITS

# On a GPU, checking convergence would synchronize, so the number of steps is fixed. Six is twice
# what the hardest loss maps need; a row that has not converged keeps an alpha above alpha*: its
# weights are feasible, its value is a lower bound, and its duality gap is positive.
_STEPS_WITHOUT_SYNC = 6

# From here on, the rounding of x / anchor times the exponent would exceed the weights' tolerance.
_PLAIN_POWER_LIMIT = 8.0


class Threshold(NamedTuple):
    """The solution of each pool, in the wide dtype."""

    value: Tensor  # (R,) L_W (Eq. 10)
    alpha: Tensor  # (R,) alpha*
    cap: Tensor  # (R,) tau
    tie: Tensor  # (R,) the weight of a loss equal to alpha* (p = 1), else tau
    num_valid: Tensor  # (R,) n
    support: Tensor  # (R,) m


NUM_VALID = Threshold._fields.index("num_valid")  # index of num_valid in a packed threshold


def unpack(packed: Tensor) -> Threshold:
    """The fields of the (6, R) tensor that the operators return."""
    return Threshold(*packed.unbind(0))


def packed_like(losses: Tensor, rows: int) -> Tensor:
    """An uninitialized (6, rows) threshold, for fake tensors."""
    return losses.new_empty(len(Threshold._fields), rows, dtype=wide(losses.device))


def find_threshold(
    losses: Tensor, valid: Tensor | None, weighting: WeightingSet, ranks: Ranks
) -> Tensor:
    """The threshold alpha* and the value of loss max-pooling, for every row.

    Args:
        losses: (R, N) float32 or float64. A NaN, an infinity or a negative among the valid losses
            makes the row's value NaN.
        valid: (R, N) bool, or None if every pixel is valid.
        weighting: the weighting set.
        ranks: reduces over the pool's ranks.

    Returns:
        (6, R) the fields of :class:`Threshold`.
    """
    dtype = wide(losses.device)
    kept = losses if valid is None else losses.masked_fill(~valid, 0)
    pixels = torch.full(losses.shape[:1], losses.shape[1], device=losses.device)
    n = ranks.sum(pixels if valid is None else valid.sum(1)).to(dtype)
    m = weighting.support(n)
    if losses.shape[1] == 0:  # torch cannot take the maximum of an empty tensor
        kept = losses.new_zeros(losses.shape[0], 1)
    # Negate the smallest, so that one maximum over ranks reduces both.
    smallest, largest = kept.aminmax(dim=1)
    largest = ranks.max(largest)
    sound = (ranks.max(-smallest) <= 0) & (largest < torch.inf)

    room = m.clamp(min=torch.finfo(dtype).tiny)  # a pool without pixels solves to 0, not to 0/0
    if weighting.is_top_k:
        alpha, capped_sum, room, tie = _order_statistic(kept, m, ranks)
    else:
        wait = losses.device.type == "cpu"
        alpha, capped_sum, room = _root(kept, weighting.q, room, largest, ranks, wait=wait)
        tie = torch.ones_like(alpha)

    occupied = n.clamp(min=1)
    smallest_m = m.clamp(min=torch.finfo(dtype).tiny)
    cap = torch.where(n > 0, weighting.cap(occupied, smallest_m), 0)
    value = torch.where(sound, cap * (capped_sum + room * alpha), torch.nan)
    return torch.stack((value, alpha, cap, cap * tie, n, m))


def optimal_weights(
    losses: Tensor, valid: Tensor | None, packed: Tensor, weighting: WeightingSet
) -> Tensor:
    """The maximizer w* of Eq. 4 (Rota Bulò et al. 2017, Theorems 1 and 2).

    Args:
        losses: (R, N) float32 or float64.
        valid: (R, N) bool or None.
        packed: (6, R) result of :func:`find_threshold` for the same arguments.
        weighting: the same weighting set.

    Returns:
        (R, N) in the dtype of ``losses``: tau above alpha*, ``tau (l/alpha*)^(q-1)`` up to it,
        0 where a pixel is not valid. NaN in rows whose value is NaN.
    """
    dtype, threshold = losses.dtype, unpack(packed)
    broken = threshold.value.isnan()
    cap = torch.where(broken, torch.nan, threshold.cap)
    cap_row = cap.to(dtype).unsqueeze(1)
    if weighting.is_mean:
        weights = cap_row.expand_as(losses)
        return weights.clone() if valid is None else weights * valid
    kept = losses if valid is None else losses.masked_fill(~valid, 0)
    alpha = floor_to(threshold.alpha, dtype)
    alpha_row = alpha.unsqueeze(1)
    above = kept > alpha_row
    if weighting.is_top_k:
        tie_row = torch.where(broken, torch.nan, threshold.tie).to(dtype).unsqueeze(1)
        weights = torch.where(kept == alpha_row, tie_row, 0 * tie_row)  # 0, or NaN like the tie
    else:
        exponent = weighting.exponent
        positive = alpha > 0
        safe = torch.where(positive, alpha, torch.ones_like(alpha))
        # Correct for rounding alpha* to the losses' dtype: the ratio, raised to the same power.
        lost = torch.where(positive, (safe.to(cap.dtype) / threshold.alpha) ** exponent, 0)
        scale = (cap * lost).to(dtype).unsqueeze(1)
        below = kept.masked_fill(above, 0)
        weights = relative_power(below, safe.unsqueeze(1), exponent) * scale
    return torch.where(above, cap_row, weights)


# p > 1: bracket, then Newton


def _root(
    losses: Tensor, q: float, m: Tensor, largest: Tensor, ranks: Ranks, *, wait: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """alpha*, the sum of the losses above it, and ``m - |J*|``, for p > 1.

    With ``wait``, the host checks after every step whether all rows have converged.
    """
    alpha = _coarse_bound(losses, q, m, largest, ranks)
    if q * COARSE_WIDTH > 1:
        alpha = _fine_bound(losses, q, m, alpha, ranks)
    current = _newton_step(losses, q, m, alpha, ranks)
    steps = 1
    while not bool(current.settled.all()) if wait else steps < _STEPS_WITHOUT_SYNC:
        current = _newton_step(losses, q, m, current.alpha, ranks)
        steps += 1
    return current.alpha, current.capped_sum, current.room


class _Step(NamedTuple):
    alpha: Tensor  # (R,) the next, smaller threshold
    capped_sum: Tensor  # (R,) sum of the losses above the threshold of this pass
    room: Tensor  # (R,) m - #{l > threshold}
    settled: Tensor  # (R,) bool: the next threshold splits the losses as this one does


def _newton_step(losses: Tensor, q: float, m: Tensor, alpha: Tensor, ranks: Ranks) -> _Step:
    """``alpha <- (sum_{l <= alpha} l^q / (m - #{l > alpha}))^(1/q)``: Eq. 9 solved for J_alpha."""
    above = losses > floor_to(alpha, losses.dtype).unsqueeze(1)
    room = m - ranks.sum(above.sum(1)).to(m.dtype)
    mass = _uncapped_mass(losses.masked_fill(above, 0), q, m.dtype, ranks)
    capped_sum = ranks.sum((losses * above).sum(1, dtype=m.dtype))
    root = mass.anchor.to(m.dtype) * (mass.power_sum / room) ** (1 / q)
    following = torch.where(mass.positive, root, 0)
    # Converged if the next threshold is not below the largest loss under this one: no loss changes
    # sides. Otherwise one does, so the iteration ends despite rounding. NaN counts as converged.
    settled = ~(mass.positive & (following < mass.anchor))
    return _Step(following, capped_sum, room, settled)


class _Mass(NamedTuple):
    """``sum of l^q = power_sum * anchor^q``, as factors that neither overflow nor underflow."""

    power_sum: Tensor  # (R,) in the wide dtype
    anchor: Tensor  # (R,) the largest of the losses; 1 where all are 0
    positive: Tensor  # (R,) bool: some loss is positive


def _uncapped_mass(below: Tensor, q: float, dtype: torch.dtype, ranks: Ranks) -> _Mass:
    """Sum the q-th powers of the losses that are not capped, relative to the largest of them.

    Relative to a threshold above them, all powers could underflow for p near 1.
    """
    largest = ranks.max(below.amax(1))
    positive = largest > 0
    anchor = torch.where(positive, largest, torch.ones_like(largest))
    powers = relative_power(below, anchor.unsqueeze(1), q)
    return _Mass(ranks.sum(powers.sum(1, dtype=dtype)), anchor, positive)


def _coarse_bound(losses: Tensor, q: float, m: Tensor, largest: Tensor, ranks: Ranks) -> Tensor:
    """(R,) an upper bound of alpha*, at most ``1 + COARSE_WIDTH`` times too large; wide dtype.

    Every loss is rounded up to the upper edge of its bin. alpha* is monotone in every loss and
    homogeneous in all, so it rises by at most the ratio of a bin's edges. Newton's iteration needs
    two or three steps from here, but tens from the obvious start, sum/m.
    """
    # Non-negative floats are ordered like their bits. -0.0 and NaN of either sign stay in range.
    bits = losses.clamp(max=torch.finfo(torch.float32).max).float().view(torch.int32)
    index = bits.bitwise_right_shift_(_SHIFT).clamp_(0, _COARSE_BINS - 1)
    counts = ranks.sum(count(index, _COARSE_BINS))
    edges = torch.arange(1, _COARSE_BINS + 1, device=losses.device, dtype=torch.int32)
    upper = (edges << _SHIFT).view(torch.float32).to(m.dtype)
    upper = torch.minimum(upper, largest.unsqueeze(1))
    # Give bin 0 a power of 0: it holds the zeros, and its other losses are below 2^-126.
    return _bound(counts, upper, torch.full_like(m, -torch.inf), q, m)


def _fine_bound(losses: Tensor, q: float, m: Tensor, bound: Tensor, ranks: Ranks) -> Tensor:
    """The bound of :func:`_coarse_bound`, tightened by a factor of ``FINE_BINS``; same arguments.

    Losses below the bracket enter with their exact power sum, so only the few inside it are
    rounded up.
    """
    dtype = m.dtype
    low = floor_to(bound / (1 + COARSE_WIDTH), losses.dtype)
    beyond = losses > floor_to(bound, losses.dtype).unsqueeze(1)
    over_low = losses > low.unsqueeze(1)
    above = ranks.sum(beyond.sum(1))
    mass = _uncapped_mass(losses.masked_fill(over_low, 0), q, dtype, ranks)
    log_power_sum = mass.power_sum.log() + q * mass.anchor.to(dtype).log()
    log_below = torch.where(mass.positive, log_power_sum, -torch.inf)

    step = ((bound - low.to(dtype)) / FINE_BINS).clamp(min=torch.finfo(dtype).tiny)
    position = (losses - low.unsqueeze(1)) / step.to(losses.dtype).unsqueeze(1)
    index = torch.where(over_low & ~beyond, position.clamp(0, FINE_BINS - 1), FINE_BINS).int()
    counts = ranks.sum(count(index, FINE_BINS))
    # One bin of slack: the division above rounds, but an upper edge must not be below its losses.
    edges = torch.arange(2, FINE_BINS + 2, device=losses.device, dtype=dtype)
    upper = low.to(dtype).unsqueeze(1) + edges * step.unsqueeze(1)
    upper = torch.minimum(upper, bound.unsqueeze(1))
    return torch.minimum(_bound(counts, upper, log_below, q, m - above), bound)


def _bound(counts: Tensor, upper: Tensor, log_below: Tensor, q: float, m: Tensor) -> Tensor:
    """alpha* of a row with ``counts`` losses at each value of ``upper``.

    Args:
        counts: (R, K) int64, by ascending value.
        upper: (R, K) the values, ascending.
        log_below: (R,) log of the power sum of the losses below the first bin.
        q: the conjugate exponent.
        m: (R,) the support that remains for the losses in and below the bins.

    Returns:
        (R,) Rota Bulò et al. 2017, Algorithm 1, lines 6-12, on the values with multiplicity.
    """
    log_power = q * upper.log()
    log_count = counts.to(m.dtype).log()
    terms = torch.cat([log_below.unsqueeze(1), log_count + log_power], dim=1)
    log_sum = terms.logcumsumexp(1)  # column k: the power sum below bin k
    # Support that remains for the losses below bin k if all losses from bin k on are capped.
    room = m.unsqueeze(1) - counts.flip(1).cumsum(1).flip(1)
    # eta > 0 at the bin's value, after subtracting its own losses from both sides: without room the
    # bin is not in J*, however the sums are rounded.
    capped = (counts > 0) & (room.clamp(min=0).log() + log_power > log_sum[:, :-1])
    # J* starts at the first such bin; if there is none, J* is empty.
    order = torch.arange(counts.shape[1], device=counts.device).expand_as(counts)
    first = torch.where(capped, order, counts.shape[1]).amin(1, keepdim=True)
    left = torch.cat([room, m.unsqueeze(1)], dim=1).gather(1, first)
    bound = ((log_sum.gather(1, first) - left.log()) / q).exp().squeeze(1)
    # Round up: below a loss that equals alpha*, Newton's m - |J| could be 0.
    return bound * (1 + 2.0**10 * torch.finfo(bound.dtype).eps)


# p = 1: an order statistic, by integer counts alone


def _order_statistic(
    losses: Tensor, m: Tensor, ranks: Ranks
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """alpha*, the sum above it, ``m - |J*|``, and the weight of a tie as a share of the cap."""
    alpha = kth_largest(losses, m.floor().long() + 1, ranks)
    above = losses > alpha.unsqueeze(1)
    equal = losses == alpha.unsqueeze(1)
    room = m - ranks.sum(above.sum(1)).to(m.dtype)
    ties = ranks.sum(equal.sum(1)).to(m.dtype)
    capped_sum = ranks.sum((losses * above).sum(1, dtype=m.dtype))
    # Theorem 2 allows any distribution over ties; an even one does not depend on their order.
    share = torch.where(alpha > 0, room / ties.clamp(min=1), 0)
    return alpha.to(m.dtype), capped_sum, room, share


def kth_largest(losses: Tensor, k: Tensor, ranks: Ranks) -> Tensor:
    """The k-th largest loss of every row, by radix: two histograms in float32, four in float64.

    Args:
        losses: (R, N) non-negative losses.
        k: (R,) int64, counted from 1; if it exceeds the pool size, the result is 0.
        ranks: reduces over the pool's ranks.

    Returns:
        (R,) in the dtype of ``losses``.
    """
    integer = torch.int64 if losses.dtype == torch.float64 else torch.int32
    width = 64 if integer == torch.int64 else 32
    bits = losses.view(integer).clamp(min=0)  # -0.0 has only its sign bit set: it becomes 0.0
    prefix = torch.zeros_like(k).to(integer)
    remaining = k.unsqueeze(1)
    for shift in range(width - _DIGIT_BITS, -1, -_DIGIT_BITS):
        digit = (bits >> shift) & (_DIGITS - 1)
        # Count only losses that share the digits found so far.
        if shift < width - _DIGIT_BITS:
            high = shift + _DIGIT_BITS
            digit = torch.where((bits >> high) == (prefix >> high).unsqueeze(1), digit, _DIGITS)
        counts = ranks.sum(count(digit, _DIGITS))
        at_least = counts.flip(1).cumsum(1).flip(1)  # number of losses with at least this digit
        # The k-th largest has the largest digit that at least k losses reach.
        found = ((at_least >= remaining).sum(1, keepdim=True) - 1).clamp(min=0)
        above = at_least.gather(1, found) - counts.gather(1, found)
        remaining = remaining - above
        prefix = prefix | (found.squeeze(1).to(integer) << shift)
    missing = k > ranks.sum(torch.full_like(k, losses.shape[1]))
    return torch.where(missing, 0, prefix.view(losses.dtype))


# Powers and counts


def relative_power(x: Tensor, anchor: Tensor, exponent: float) -> Tensor:
    """``(x / anchor) ** exponent`` for ``0 <= x <= anchor``, accurate for exponents up to 10^4.

    A plain power of the rounded ratio is off by ``exponent`` units in the last place: 6e-4 in
    float32 at an exponent of 10^4. The difference ``x - anchor`` is exact where the power is not
    negligible (Sterbenz's lemma), so log1p keeps full precision there. For exponents below 1, the
    two powers are divided instead: the ratio may be subnormal and have lost its last digits, while
    its power is not small.

    Args:
        x: (R, N) numbers between 0 and their row's anchor; zeros give exactly 0.
        anchor: (R, 1) positive numbers of the same dtype.
        exponent: a number >= 0.

    Returns:
        (R, N) in the dtype of ``x``, between 0 and 1.
    """
    if exponent < 1:
        return x.pow(exponent).div_(anchor.pow(exponent))
    if exponent <= _PLAIN_POWER_LIMIT:
        return (x / anchor).pow_(exponent)
    return (x - anchor).div_(anchor).log1p_().mul_(exponent).exp_()


def floor_to(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest number of ``dtype`` that is at most ``x``.

    For losses of that dtype, ``l > x`` and ``l > floor_to(x)`` are equivalent, so a float64
    threshold can be compared with float32 losses without a float64 copy of them.
    """
    rounded = x.to(dtype)
    below = torch.nextafter(rounded, torch.full_like(rounded, -torch.inf))
    return torch.where(rounded.to(x.dtype) > x, below, rounded)


def count(index: Tensor, bins: int) -> Tensor:
    """Histogram of each row; integer sums, hence deterministic.

    Args:
        index: (R, N) integers in [0, bins]; entries equal to ``bins`` are dropped.
        bins: K, the number of bins.

    Returns:
        (R, K) int64.
    """
    # torch.bincount is faster, but on a GPU it copies its maximum to the host.
    by_host = index.device.type == "cpu"
    return count_by_bincount(index, bins) if by_host else count_by_scatter(index, bins)


def count_by_bincount(index: Tensor, bins: int) -> Tensor:
    rows = index.shape[0]
    offset = torch.arange(rows, dtype=index.dtype).unsqueeze(1) * (bins + 1)
    counts = torch.bincount((index + offset).flatten(), minlength=rows * (bins + 1))
    return counts.view(rows, bins + 1)[:, :bins]


def count_by_scatter(index: Tensor, bins: int) -> Tensor:
    counts = torch.zeros(index.shape[0], bins + 1, dtype=torch.int64, device=index.device)
    place = index.long()
    return counts.scatter_add_(1, place, torch.ones_like(place))[:, :bins]
