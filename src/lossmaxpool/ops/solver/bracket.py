"""Algorithm 1 on a histogram: an upper bound of alpha* within one bin's width.

Rounding every loss up to the upper edge of its bin leaves a sorted instance of a few thousand
values, on which the paper's Algorithm 1 is a handful of cumulative sums. alpha* grows with every
loss and scales with all of them, so the bound is above alpha* by at most the ratio of a bin's
edges: where Newton's iteration needs two or three steps from here, it would need tens from sum/m.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lossmaxpool.ops.solver.histogram import count
from lossmaxpool.ops.solver.mass import uncapped_mass
from lossmaxpool.ops.solver.powers import floor_to
from lossmaxpool.ops.solver.ranks import Ranks

# Exponent and leading mantissa bits of a finite float32: about 2^13 bins, their edges 2^-5 apart.
_MANTISSA_BITS = 5
_SHIFT = 23 - _MANTISSA_BITS
COARSE_BINS = 0xFF << _MANTISSA_BITS
COARSE_WIDTH = 2.0**-_MANTISSA_BITS
FINE_BINS = 1 << 12


def coarse_bound(losses: Tensor, q: float, m: Tensor, largest: Tensor, ranks: Ranks) -> Tensor:
    """An upper bound of alpha*, at most ``1 + COARSE_WIDTH`` times too large.

    Args:
        losses: (B, N) non-negative losses; pixels that do not count are 0.
        q: the conjugate exponent, in [1, inf).
        m: (B,) the least number of supported pixels, in the wide dtype.
        largest: (B,) the largest loss of the pool.
        ranks: reduces over the pool's ranks.

    Returns:
        (B,) in the wide dtype, 0 where alpha* is surely 0.
    """
    # Non-negative floats order as their bits do. -0.0 and NaN of either sign stay in range.
    bits = losses.clamp(max=torch.finfo(torch.float32).max).float().view(torch.int32)
    index = bits.bitwise_right_shift_(_SHIFT).clamp_(0, COARSE_BINS - 1)
    counts = ranks.sum(count(index, COARSE_BINS))
    edges = torch.arange(1, COARSE_BINS + 1, device=losses.device, dtype=torch.int32)
    upper = (edges << _SHIFT).view(torch.float32).to(m.dtype)
    upper = torch.minimum(upper, largest.unsqueeze(1))
    nothing_below = torch.full_like(m, -torch.inf)
    # Bin 0 holds the zeros, whose powers add nothing: its other losses are below 2^-126.
    return _bound(counts, upper, nothing_below, q, m)


def fine_bound(losses: Tensor, q: float, m: Tensor, bound: Tensor, ranks: Ranks) -> Tensor:
    """The bound of :func:`coarse_bound`, tightened ``FINE_BINS`` times; same arguments.

    Losses below the bracket enter with their exact power sum, so only the few inside it are
    rounded up.
    """
    wide = m.dtype
    low = floor_to(bound / (1 + COARSE_WIDTH), losses.dtype)
    high = bound
    beyond = losses > floor_to(high, losses.dtype).unsqueeze(1)
    over_low = losses > low.unsqueeze(1)
    above = ranks.sum(beyond.sum(1))
    mass = uncapped_mass(losses.masked_fill(over_low, 0), q, wide, ranks)
    log_power_sum = mass.power_sum.log() + q * mass.anchor.to(wide).log()
    log_below = torch.where(mass.positive, log_power_sum, -torch.inf)

    step = ((high - low.to(wide)) / FINE_BINS).clamp(min=torch.finfo(wide).tiny)
    position = (losses - low.unsqueeze(1)) / step.to(losses.dtype).unsqueeze(1)
    index = torch.where(over_low & ~beyond, position.clamp(0, FINE_BINS - 1), FINE_BINS).int()
    counts = ranks.sum(count(index, FINE_BINS))
    # One bin of slack: the division above rounds, and an upper edge must not be below its losses.
    edges = torch.arange(2, FINE_BINS + 2, device=losses.device, dtype=wide)
    upper = torch.minimum(low.to(wide).unsqueeze(1) + edges * step.unsqueeze(1), high.unsqueeze(1))
    return torch.minimum(_bound(counts, upper, log_below, q, m - above), bound)


def _bound(counts: Tensor, upper: Tensor, log_below: Tensor, q: float, m: Tensor) -> Tensor:
    """alpha* of the instance that holds ``counts`` losses at each value of ``upper``.

    Args:
        counts: (B, K) int64, by ascending value.
        upper: (B, K) the values, ascending.
        log_below: (B,) log of the power sum of the losses below the first bin.
        q: the conjugate exponent.
        m: (B,) the support left to the losses in and below the bins.

    Returns:
        (B,) Rota Bulò et al. 2017, Algorithm 1, lines 6-12, on the values with multiplicity.
    """
    log_power = q * upper.log()
    log_count = counts.to(m.dtype).log()
    terms = torch.cat([log_below.unsqueeze(1), log_count + log_power], dim=1)
    log_sum = terms.logcumsumexp(1)  # column k: what is below bin k
    # What m leaves to the losses below bin k if all from bin k on are capped.
    room = m.unsqueeze(1) - counts.flip(1).cumsum(1).flip(1)
    # eta > 0 at the bin's value, with its own losses taken off both sides: the bin is in J* only
    # where room is left, whatever the sums are rounded to.
    capped = (counts > 0) & (room.clamp(min=0).log() + log_power > log_sum[:, :-1])
    # The first such bin opens J*; without one, J* is empty.
    order = torch.arange(counts.shape[1], device=counts.device).expand_as(counts)
    first = torch.where(capped, order, counts.shape[1]).amin(1, keepdim=True)
    left = torch.cat([room, m.unsqueeze(1)], dim=1).gather(1, first)
    bound = ((log_sum.gather(1, first) - left.log()) / q).exp().squeeze(1)
    # Rounded down, it could fall below a loss that alpha* equals, and leave Newton no room.
    return bound * (1 + 2.0**10 * torch.finfo(bound.dtype).eps)
