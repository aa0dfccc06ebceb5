"""The parameters of the paper's weighting set W, passed from the functions to the kernels."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class WeightingSet(NamedTuple):
    r"""``W = {w : ||w||_p <= gamma, ||w||_inf <= tau}`` of a pool of any size (Eq. 5).

    .. math:: m = \mathrm{clip}(fraction \cdot n, least, n), \quad
        \gamma = n^{-1/q}, \; \tau = \gamma m^{-1/p}, \; q = p / (p - 1)

    A tuple, so that ``*weighting`` can be passed to a ``torch.library`` operator, which takes only
    numbers.

    Attributes:
        p: norm exponent in [1, inf].
        fraction: m as a share of the n valid pixels, in [0, 1].
        least: lower bound of m; a pool with fewer pixels has m = n.

    Example:
        >>> from lossmaxpool.ops.weighting_set import WeightingSet
        >>> WeightingSet(2.0, 0.25).q
        2.0

    References:
        Rota Bulò et al. 2017, Eq. 5.
    """

    p: float
    fraction: float
    least: float = 1.0

    @classmethod
    def top_k(cls, k: int) -> WeightingSet:
        """The weighting set that averages the k largest losses: p = 1 with m = k (Theorem 2)."""
        return cls(1.0, 0.0, float(k))

    @property
    def q(self) -> float:
        """The conjugate exponent ``p / (p - 1)``: inf for p = 1, 1 for p = inf."""
        if self.p == 1:
            return math.inf
        return 1.0 if math.isinf(self.p) else self.p / (self.p - 1)

    @property
    def exponent(self) -> float:
        """``q - 1``, the exponent of ``l / alpha*`` in the weights below the cap."""
        return math.inf if self.p == 1 else 1 / (self.p - 1)

    @property
    def is_top_k(self) -> bool:
        """Whether ``p = 1``: the threshold is then an order statistic (Theorem 2)."""
        return self.p == 1

    @property
    def is_mean(self) -> bool:
        """Whether ``p = inf``: every valid pixel then has weight 1 / n."""
        return math.isinf(self.p)

    def support(self, n: Tensor) -> Tensor:
        """Support m (floating-point) of pools with ``n`` valid pixels."""
        return (self.fraction * n).clamp(min=self.least).minimum(n)

    def cap(self, n: Tensor, m: Tensor) -> Tensor:
        """``tau = gamma m^(-1/p)``, computed as ``(n/m)^(1/p) / n`` to be exactly 1/n for m = n."""
        return (n / m) ** (1 / self.p) / n

    def norm_bound(self, n: Tensor) -> Tensor:
        """Norm bound ``gamma = n^(-1/q)``; 0 for a pool without valid pixels."""
        return torch.where(n > 0, n.clamp(min=1) ** (1 / self.p - 1), 0)
