"""Loss max-pooling as functions of the pixel losses (Rota Bulò, Neuhold, Kontschieder 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lossmaxpool.checks import check_choice, check_norm, check_share
from lossmaxpool.ops.solver.gradient import MaxPool
from lossmaxpool.ops.solver.powers import floor_to, relative_power
from lossmaxpool.ops.solver.ranks import ranks
from lossmaxpool.ops.solver.soundness import refuse_unsound
from lossmaxpool.ops.solver.threshold import Threshold, conjugate, find_threshold, unpack
from lossmaxpool.ops.solver.weights import optimal_weights

Pool = Literal["image", "batch", "world"]
Reduction = Literal["mean", "sum", "none"]


@dataclass(frozen=True)
class Solution:
    """The maximiser of ``w . l`` over the weighting set, with its certificate.

    B is the number of images; ``...`` are the dimensions of the losses behind it. An image without
    a valid pixel has zeros everywhere.

    Attributes:
        value: (B,) the loss ``L_W = w* . l`` (Eq. 4, 10).
        threshold: (B,) alpha*, the largest root of eta (Eq. 9).
        weights: (B, ...) w*, the gradient of the value with respect to the losses (Theorem 1, 2).
        capped: (B, ...) bool, J* = {l > alpha*}: the pixels that carry the largest weight.
        num_valid: (B,) int64, n.
        weight_cap: (B,) tau, the bound of every weight (Eq. 5).
        norm_bound: (B,) gamma, the bound of the weights' p-norm (Eq. 5).
        dual: (B, ...) lambda* = max(l - alpha*, 0), the minimiser of the dual (Eq. 6).
        duality_gap: (B,) dual minus primal objective at (lambda*, w*): 0 up to rounding where the
            solution is exact, and otherwise a bound of its error.
    """

    value: Tensor
    threshold: Tensor
    weights: Tensor
    capped: Tensor
    num_valid: Tensor
    weight_cap: Tensor
    norm_bound: Tensor
    dual: Tensor
    duality_gap: Tensor


def loss_max_pool(
    losses: Tensor,
    *,
    p: float = 1.3,
    min_support: float = 0.25,
    valid: Tensor | None = None,
    pool: Pool = "image",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Maximise ``w . losses`` over ``||w||_p <= gamma``, ``||w||_inf <= tau``; no averaging.

    .. math:: L_W = \max_{w \in W} \sum_u w(u) l(u), \quad
        \gamma = n^{-1/q}, \; \tau = \gamma m^{-1/p}, \; q = p / (p - 1)

    The value is an upper bound of the mean of the valid losses; its gradient with respect to the
    losses is the optimal weighting w*, computed exactly, without sorting and without waiting for
    the device.

    Args:
        losses: (B, ...) non-negative pixel losses, any floating dtype. float16 and bfloat16 are
            computed in float32.
        p: norm exponent in [1, inf]. 1: the mean of the m largest losses; inf: the mean of all.
        min_support: m / n in (0, 1], the least share of the valid pixels that carries weight;
            m is clipped to [1, n].
        valid: (B, ...) bool, False where a pixel does not exist; None: all exist.
        pool: what shares one weighting: each "image" (the paper's choice), the whole "batch", or
            the batches of all ranks of the process group, the "world". With "world" the value is
            the same on every rank, and gradients averaged over ranks (DistributedDataParallel)
            are those of one process that holds all pixels.
        reduction: over images: "mean" of those that have a valid pixel, "sum", or "none" (one
            value per image; a single value for "batch" and "world").

    Returns:
        A scalar, or (B,) / (1,) for reduction "none"; float64 for float64 losses, else float32.
        A pool without a valid pixel gives 0 and zero gradients.

    Raises:
        ValueError: p, min_support, pool or reduction outside their range, or shapes that do not
            match; on the CPU also for negative losses.
        TypeError: losses that are not floating, or a mask that is not bool.

    A NaN or an infinity among the valid losses gives NaN, on every device, and so does a negative
    loss on a GPU, where looking would synchronise.

    Example:
        >>> losses = torch.tensor([[0.1, 0.2, 0.1, 4.0]])
        >>> float(losses.mean())  # doctest: +ELLIPSIS
        1.1...
        >>> float(loss_max_pool(losses, p=1.3, min_support=0.25))  # doctest: +ELLIPSIS
        2.9...

    References:
        Rota Bulò et al. 2017, Eq. 4, 5 and 10, Theorems 1 and 2; gradient: Sect. 4.
    """
    check_norm(p)
    check_share("min_support", min_support)
    return pool_losses(
        losses, valid, p=p, fraction=min_support, least=1.0, pool=pool, reduction=reduction
    )


def solve(
    losses: Tensor,
    *,
    p: float = 1.3,
    min_support: float = 0.25,
    valid: Tensor | None = None,
) -> Solution:
    r"""Solve ``max w . l`` over ``||w||_p <= gamma``, ``||w||_inf <= tau``, and show all of it.

    What :func:`loss_max_pool` computes, with the weights, the threshold and a certificate: for
    heat maps, analysis and tests. Not differentiable; nothing is tracked.

    Args:
        losses: (B, ...) non-negative losses, one image per row.
        p: norm exponent in [1, inf].
        min_support: m / n in (0, 1]; m is clipped to [1, n].
        valid: (B, ...) bool, or None.

    Returns:
        A :class:`Solution`, one entry per image.

    Raises:
        ValueError: parameters outside their range, shapes that do not match, and, on the CPU, a
            NaN, an infinity or a negative among the valid losses. On a GPU these give NaN.
        TypeError: losses that are not floating, or a mask that is not bool.

    Example:
        >>> solution = solve(torch.tensor([[0.0, 1.0, 2.0, 8.0]]), p=2.0, min_support=0.5)
        >>> solution.capped
        tensor([[False, False, False,  True]])
        >>> bool(solution.duality_gap.abs() < 1e-6)
        True

    References:
        Rota Bulò et al. 2017, Theorems 1 and 2 (value, w*, lambda*), Eq. 6 and 7 (gap).
    """
    check_norm(p)
    check_share("min_support", min_support)
    losses, valid = _check_tensors(losses.detach(), valid)
    rows, mask = _rows(losses, valid, "image")
    if rows.device.type == "cpu":
        refuse_unsound(rows, mask)
    local = ranks(world=False)
    threshold = find_threshold(rows, mask, p=p, fraction=min_support, least=1.0, ranks=local)
    weights = optimal_weights(rows, mask, threshold, p=p)
    alpha = floor_to(threshold.alpha, rows.dtype).unsqueeze(1)
    kept = rows if mask is None else rows.masked_fill(~mask, 0)
    dual = (kept - threshold.alpha.to(rows.dtype).unsqueeze(1)).clamp(min=0)
    n = threshold.num_valid
    gamma = torch.where(n > 0, n.clamp(min=1) ** (1 / p - 1), 0)
    narrow = rows.dtype
    return Solution(
        value=threshold.value.to(narrow),
        threshold=threshold.alpha.to(narrow),
        weights=weights.view(losses.shape),
        capped=(kept > alpha).view(losses.shape),
        num_valid=n.long(),
        weight_cap=threshold.cap.to(narrow),
        norm_bound=gamma.to(narrow),
        dual=dual.view(losses.shape),
        duality_gap=_duality_gap(kept, weights, threshold, gamma, p).to(narrow),
    )


def pool_losses(
    losses: Tensor,
    valid: Tensor | None,
    *,
    p: float,
    fraction: float,
    least: float,
    pool: Pool,
    reduction: Reduction,
) -> Tensor:
    """:func:`loss_max_pool` with ``m = clip(fraction * n, least, n)``; the checks are shared."""
    check_choice("pool", pool, get_args(Pool))
    check_choice("reduction", reduction, get_args(Reduction))
    losses, valid = _check_tensors(losses, valid)
    rows, mask = _rows(losses, valid, pool)
    value: Tensor
    value, packed = MaxPool.apply(rows, mask, p, fraction, least, pool == "world")
    return reduce_pools(value, packed, reduction)


def reduce_pools(value: Tensor, packed: Tensor, reduction: Reduction) -> Tensor:
    """From (R,) values and their (6, R) thresholds to what the caller asked for."""
    if reduction == "none":
        return value
    if reduction == "sum":
        return value.sum()
    counted = (unpack(packed).num_valid > 0).sum().clamp(min=1)
    return value.sum() / counted


def _duality_gap(
    losses: Tensor, weights: Tensor, threshold: Threshold, gamma: Tensor, p: float
) -> Tensor:
    """``g(lambda*) - w* . l`` (Rota Bulò et al. 2017, Eq. 7), both sums in float64, (B,)."""
    wide_losses = losses.to(threshold.alpha.dtype)
    primal = (weights.to(wide_losses.dtype) * wide_losses).sum(1)
    alpha = threshold.alpha.unsqueeze(1)
    reach = torch.minimum(wide_losses, alpha)  # l - lambda*
    top = reach.amax(1) if losses.shape[1] else torch.zeros_like(gamma)
    safe = torch.where(top > 0, top, torch.ones_like(top))
    q = conjugate(p)
    norm = top
    if not math.isinf(q):
        mass = relative_power(reach.clamp(min=0), safe.unsqueeze(1), q).sum(1)
        norm = top * mass ** (1 / q)
    dual = threshold.cap * (wide_losses - alpha).clamp(min=0).sum(1) + gamma * norm
    return dual - primal


def _check_tensors(losses: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Losses in float32 or float64 and a mask of their shape, or an error that says why not."""
    if not losses.is_floating_point():
        raise TypeError(
            f"losses must be floating, got {losses.dtype}: pass pixel losses, not labels or counts."
        )
    if losses.dim() == 0:
        raise ValueError(
            "losses must have an image dimension, (B, ...), got a scalar: use the pixel loss "
            'with reduction="none".'
        )
    if losses.dtype not in (torch.float32, torch.float64):
        losses = losses.float()
    if valid is not None:
        if valid.dtype != torch.bool:
            raise TypeError(
                f"valid must be bool, got {valid.dtype}: pass e.g. target != ignore_index."
            )
        if valid.shape != losses.shape:
            raise ValueError(
                f"valid has shape {tuple(valid.shape)}, losses {tuple(losses.shape)}: "
                "one flag per loss is expected."
            )
        if valid.device != losses.device:
            raise ValueError(
                f"valid is on {valid.device}, losses are on {losses.device}: move one of them."
            )
    return losses, valid


def _rows(losses: Tensor, valid: Tensor | None, pool: Pool) -> tuple[Tensor, Tensor | None]:
    """One row per pool: (B, N), or (1, B * N)."""
    rows = losses.shape[0] if pool == "image" else 1
    columns = math.prod(losses.shape[1:]) if pool == "image" else losses.numel()
    shape = (rows, columns)
    return losses.reshape(shape), None if valid is None else valid.reshape(shape)
