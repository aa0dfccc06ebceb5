"""The numbers behind Figures 1 and 2 of Rota Bulò et al. 2017, from the operator itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lossmaxpool.functional import solve

Points = list[tuple[float, float]]
NUM_PIXELS = 100
# Directions of the loss per quadrant.
_DIRECTIONS = 181


def weighting_set(p: float, min_support: float) -> Points:
    """The boundary of W for two pixels: every point maximises some loss.

    Args:
        p: Norm of the weighting set.
        min_support: m / n; half of it and less is no cap but the norm's own.

    Returns:
        The corners of a closed polygon, counter-clockwise; between two directions of the loss W is
        flat, or flat within a pixel of a drawing.

    Example:
        >>> [(round(x, 2), round(y, 2)) for x, y in weighting_set(math.inf, 0.5)]
        [(0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)]
    """
    angles = torch.linspace(0, math.pi / 2, _DIRECTIONS, dtype=torch.float64)
    losses = torch.stack((angles.cos(), angles.sin()), dim=1).clamp(min=0)
    losses[0, 1] = losses[-1, 0] = 0.0
    weights = solve(losses, p=p, min_support=min_support).weights
    quadrant = [(x, y) for x, y in weights.tolist()]
    # W is the same under a change of sign, and the operator takes losses that are not negative.
    turned = [
        *quadrant,
        *((-x, y) for x, y in reversed(quadrant)),
        *((-x, -y) for x, y in quadrant),
        *((x, -y) for x, y in reversed(quadrant)),
    ]
    return [
        point for point, before in zip(turned, [None, *turned], strict=False) if point != before
    ]


def sphere(p: float, norm: float = 1.0) -> Points:
    """The curve ||w||_p = ``norm`` in two dimensions: W without a cap, scaled."""
    boundary = weighting_set(p, 0.5)
    scale = norm / 2 ** (1 / p - 1)
    return [(scale * x, scale * y) for x, y in boundary]


def synthetic_losses() -> Tensor:
    """(100,) losses in ascending order: the quantiles of an exponential distribution.

    The paper does not say how it generated its losses; these need no seed.
    """
    ranks = (torch.arange(NUM_PIXELS, dtype=torch.float64) + 0.5) / NUM_PIXELS
    return -torch.log1p(-ranks)


def optimal_weights(losses: Tensor, p: float, min_support: float) -> list[float]:
    """w* of losses (N,)."""
    weights: list[float] = solve(losses[None], p=p, min_support=min_support).weights[0].tolist()
    return weights


def over_norms(
    losses: Tensor, norms: Sequence[float], min_support: float
) -> Mapping[str, list[float]]:
    """w* by "p = ..."."""
    return {f"p = {exponent(p)}": optimal_weights(losses, p, min_support) for p in norms}


def over_supports(losses: Tensor, p: float, supports: Sequence[float]) -> Mapping[str, list[float]]:
    """w* by "m/n = ..."; 0 is one pixel, as the cap is then no tighter than the norm."""
    least = 1 / losses.numel()
    return {f"m/n = {m:g}": optimal_weights(losses, p, max(m, least)) for m in supports}


def exponent(p: float) -> str:
    """P as a reader writes it."""
    return "∞" if math.isinf(p) else f"{p:g}"
