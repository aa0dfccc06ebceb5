"""Loss max-pooling as functions: of pixel losses and of logits (Rota Bulò et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool.checks import check_choice, check_norm, check_share, options_by_name
from lossmaxpool.ops import cross_entropy, max_pool
from lossmaxpool.ops.backends.kernel_inputs import by_form
from lossmaxpool.ops.backends.threshold import Threshold, floor_to, relative_power, unpack
from lossmaxpool.ops.dispatch import Backend, check_backend, choose, choose_solver, kernels
from lossmaxpool.ops.inputs import (
    NO_LABEL,
    as_losses,
    as_rows,
    check_logits,
    check_probabilities,
    check_tensor,
    class_ids,
    holds_probabilities,
    refuse_overwriting_leaf,
    refuse_unsound,
)
from lossmaxpool.ops.max_pool import runs_directly, solve_pools
from lossmaxpool.ops.ranks import Ranks, ranks
from lossmaxpool.ops.upsampling import upsample_to
from lossmaxpool.ops.weighting_set import WeightingSet

Pool = Literal["image", "batch", "world"]
Reduction = Literal["mean", "sum", "none"]
_POOLS, _REDUCTIONS = get_args(Pool), get_args(Reduction)


@dataclass(frozen=True)
class Solution:
    """The maximizer of ``w . l`` over the weighting set, with its certificate.

    B is the number of images; ``...`` are the remaining dimensions of the losses. All fields are
    zero for an image without a valid pixel.

    Attributes:
        value: (B,) the loss ``L_W = w* . l`` (Eq. 4, 10).
        threshold: (B,) alpha*, the largest root of eta (Eq. 9).
        weights: (B, ...) w*, the gradient of the value with respect to the losses (Theorem 1, 2).
        capped: (B, ...) bool, J* = {l > alpha*}: the pixels that carry the largest weight.
        num_valid: (B,) int64, n.
        weight_cap: (B,) tau, the bound of every weight (Eq. 5).
        norm_bound: (B,) gamma, the bound of the weights' p-norm (Eq. 5).
        dual: (B, ...) lambda* = max(l - alpha*, 0), the minimizer of the dual (Eq. 6).
        duality_gap: (B,) dual minus primal objective at (lambda*, w*): 0 up to rounding if the
            solution is exact, otherwise an upper bound of its error.
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


@options_by_name("losses")
def loss_max_pool(
    losses: Tensor,
    *,
    p: float = 1.3,
    min_support: float = 0.25,
    valid: Tensor | None = None,
    pool: Pool = "image",
    reduction: Reduction = "mean",
    backend: Backend = "auto",
) -> Tensor:
    r"""Maximize ``w . losses`` over ``||w||_p <= gamma``, ``||w||_inf <= tau``; no averaging.

    .. math:: L_W = \max_{w \in W} \sum_u w(u) l(u), \quad
        \gamma = n^{-1/q}, \; \tau = \gamma m^{-1/p}, \; q = p / (p - 1)

    The value is an upper bound of the mean of the valid losses; its gradient with respect to the
    losses is the optimal weighting w*, computed exactly, without sorting and without host-device
    synchronization.

    Args:
        losses: (B, ...) non-negative pixel losses, any floating dtype. float16 and bfloat16 are
            computed in float32. (N,) losses need ``pool="batch"`` or "world".
        p: norm exponent in [1, inf]. 1: the mean of the m largest losses; inf: the mean of all.
        min_support: m / n in (0, 1], the least share of the valid pixels that carries weight;
            m is clipped to [1, n].
        valid: (B, ...) bool, False for ignored pixels; None: all are valid.
        pool: the pixels that share one weighting: each "image" (the paper's choice), the whole
            "batch", or the batches of all ranks of the process group, the "world". With "world" the
            value is the same on every rank, and gradients averaged over ranks
            (DistributedDataParallel) equal those of one process that holds all pixels.
        reduction: over images: "mean" of those that have a valid pixel, "sum", or "none" (one
            value per image; a single value for "batch" and "world"). One value per pixel is
            ``solve(losses).weights * losses``, whose sum over an image is its value.
        backend: "auto" takes the fastest that can solve these losses; "torch" (every device),
            "native" (CPU) or "triton" (GPUs) selects one without fallback.

    Returns:
        A scalar, or (B,) / (1,) for reduction "none"; float64 for float64 losses, else float32.
        A pool without a valid pixel gives 0 and zero gradients.

    Raises:
        ValueError: p, min_support, pool or reduction outside their range, shapes that do not
            match, or (N,) losses pooled by image; on the CPU also for negative losses.
        TypeError: losses that are not a floating tensor, a mask that is not bool, or an option
            without its name.
        RuntimeError: a backend that cannot solve these losses.

    A NaN or an infinity among the valid losses gives NaN on every device; so does a negative loss
    on a GPU, where raising an error would need a synchronization.

    Example:
        >>> losses = torch.tensor([[0.1, 0.2, 0.1, 4.0]])
        >>> float(losses.mean())  # doctest: +ELLIPSIS
        1.1...
        >>> float(loss_max_pool(losses, p=1.3, min_support=0.25))  # doctest: +ELLIPSIS
        2.9...

    References:
        Rota Bulò et al. 2017, Eq. 4, 5 and 10, Theorems 1 and 2; gradient: Sect. 4.
    """
    return pool_losses(
        losses,
        valid,
        weighting_set(p, min_support),
        pool=pool,
        reduction=reduction,
        backend=backend,
    )


@options_by_name("input, target")
def max_pooling_cross_entropy(
    input: Tensor,
    target: Tensor,
    *,
    p: float = 1.3,
    min_support: float = 0.25,
    weight: Tensor | None = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    pool: Pool = "image",
    reduction: Reduction = "mean",
    backend: Backend = "auto",
    inplace_backward: bool = False,
) -> Tensor:
    """Max-pool the cross-entropy of every pixel, from the logits, without a copy of their size.

    :func:`loss_max_pool` of ``F.cross_entropy(input, target, reduction="none")``; the module is
    :class:`~lossmaxpool.MaxPoolingCrossEntropyLoss`.

    Args:
        input: (B, C, *spatial) logits of C >= 2 classes, any floating dtype, up to three spatial
            dimensions. If they are smaller than the target's, they are upsampled linearly
            (``align_corners=False``) by any factor. (N, C) needs ``pool="batch"`` or "world".
        target: (B, *spatial) or (B, 1, *spatial) class ids of any integer dtype, or of a floating
            dtype with integer values; or (B, C, *spatial) probabilities.
        p: norm exponent in [1, inf].
        min_support: m / n in (0, 1], the least share of valid pixels that carries weight.
        weight: (C,) factors of the pixel losses by class; they do not divide the result.
        ignore_index: the id of ignored pixels; None: all are valid. Not used with probabilities.
        label_smoothing: in [0, 1], as in torch.
        pool: the pixels that share a weighting: each "image", the "batch", or all ranks ("world").
        reduction: over images with a valid pixel: "mean", "sum", or "none" (one value per image).
        backend: "auto", "torch", "native" or "triton".
        inplace_backward: the backward pass writes the gradient in place of ``input``, whose values
            are lost, and allocates nothing of its size. For eager calls, with class ids of the
            input's size, and for an input that is computed and not a leaf. A second backward pass,
            or another one that needs the input's values, raises an error. Where hooks saved a copy
            of the input (checkpoints, offloading), nothing is overwritten.

    Returns:
        A scalar, or (B,) / (1,) for reduction "none"; float64 for float64 logits, else float32.

    Raises:
        ValueError: options outside their range, tensors that do not fit, a single class, or (N, C)
            logits pooled by image; on the CPU also for labels outside [0, C).
        TypeError: tensors of the wrong kind, or an option without its name.
        RuntimeError: a backend that cannot run on these tensors, or ``inplace_backward`` where
            the call is not eager.

    Example:
        >>> logits, target = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4).long()
        >>> float(max_pooling_cross_entropy(logits, target))  # doctest: +ELLIPSIS
        1.098...

    References:
        Rota Bulò et al. 2017, Eq. 4 and 5, Theorems 1 and 2.
    """
    check_cross_entropy(ignore_index, label_smoothing)
    return pool_cross_entropy(
        input,
        target,
        weighting_set(p, min_support),
        weight=weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        pool=pool,
        reduction=reduction,
        backend=backend,
        inplace_backward=inplace_backward,
    )


@options_by_name("losses")
def solve(
    losses: Tensor,
    *,
    p: float = 1.3,
    min_support: float = 0.25,
    valid: Tensor | None = None,
    backend: Backend = "auto",
) -> Solution:
    r"""Solve ``max w . l`` over ``||w||_p <= gamma``, ``||w||_inf <= tau``, with a certificate.

    Runs the same solver as :func:`loss_max_pool` for these losses and this backend, and returns
    its weights, threshold and duality gap. Not differentiable.

    Args:
        losses: (B, ...) non-negative losses, one image per row; (1, N) for N losses of one image.
        p: norm exponent in [1, inf].
        min_support: m / n in (0, 1]; m is clipped to [1, n].
        valid: (B, ...) bool, or None.
        backend: as in :func:`loss_max_pool`.

    Returns:
        A :class:`Solution`, one entry per image.

    Raises:
        ValueError: parameters outside their range, shapes that do not match, and, on the CPU, a
            NaN, an infinity or a negative among the valid losses. On a GPU these give NaN.
        TypeError: losses that are not a floating tensor, a mask that is not bool, or an option
            without its name.
        RuntimeError: a backend that cannot solve these losses.

    Example:
        >>> solution = solve(torch.tensor([[0.0, 1.0, 2.0, 8.0]]), p=2.0, min_support=0.5)
        >>> solution.capped
        tensor([[False, False, False,  True]])
        >>> bool(solution.duality_gap.abs() < 1e-6)
        True

    References:
        Rota Bulò et al. 2017, Theorems 1 and 2 (value, w*, lambda*), Eq. 6 and 7 (gap).
    """
    return solve_losses(losses, valid, weighting_set(p, min_support), backend=backend)


# Internal entry points of the modules in lossmaxpool.losses; they accept any weighting set.


def solve_losses(
    losses: Tensor,
    valid: Tensor | None,
    weighting: WeightingSet,
    *,
    world: bool = False,
    backend: Backend = "auto",
) -> Solution:
    """:func:`solve` for any weighting set; of one pool over all ranks, this rank's pixels."""
    check_tensor("losses", losses)
    losses, valid = as_losses(losses.detach(), valid)
    check_backend(backend)
    rows, mask = as_rows(losses, valid, by_image=True)
    if rows.device.type == "cpu" and not world:
        refuse_unsound(rows, mask)
    run = kernels(choose_solver(rows, backend))
    packed = solve_pools(run, rows, mask, weighting, world=world)
    weights = run.weigh(rows, mask, packed, weighting)
    threshold = unpack(packed)
    alpha = floor_to(threshold.alpha, rows.dtype).unsqueeze(1)
    kept = rows if mask is None else rows.masked_fill(~mask, 0)
    dual = (kept - threshold.alpha.to(rows.dtype).unsqueeze(1)).clamp(min=0)
    n = threshold.num_valid
    gamma = weighting.norm_bound(n)
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
        duality_gap=_duality_gap(kept, weights, threshold, gamma, weighting.q, ranks(world)).to(
            narrow
        ),
    )


def weighting_set(p: float, min_support: float) -> WeightingSet:
    """The paper's weighting set; raises ValueError naming the parameter and its range."""
    check_norm(p)
    check_share("min_support", min_support)
    return WeightingSet(float(p), float(min_support))


def check_cross_entropy(ignore_index: object, label_smoothing: float) -> None:
    """Reject an ``ignore_index`` that no label can equal, and a smoothing outside [0, 1]."""
    whole = isinstance(ignore_index, int) and not isinstance(ignore_index, bool)
    if ignore_index is not None and not whole:
        raise ValueError(
            f"ignore_index must be an integer label, got {ignore_index!r}: 255 is the usual one; "
            "None, where every pixel is labeled."
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing!r}.")


def pool_losses(
    losses: Tensor,
    valid: Tensor | None,
    weighting: WeightingSet,
    *,
    pool: Pool,
    reduction: Reduction,
    backend: Backend,
) -> Tensor:
    """:func:`loss_max_pool` for any weighting set."""
    if runs_directly(losses, valid):
        call = _prepared_pool(losses, valid, weighting, pool, reduction, backend)
        if call is not None:
            return max_pool.directly(call, losses, valid)
    check_pooling(pool, reduction, backend)
    losses, valid = as_losses(losses, valid)
    rows, mask = as_rows(losses, valid, by_image=pool == "image")
    return max_pool.max_pool(
        rows, mask, weighting, world=pool == "world", backend=backend, reduction=reduction
    )


@by_form(tensors=2)
def _prepared_pool(
    losses: Tensor,
    valid: Tensor | None,
    weighting: WeightingSet,
    pool: Pool,
    reduction: Reduction,
    backend: Backend,
) -> max_pool.PoolCall | None:
    """The checks and the call for losses as they are; None for what has to be converted."""
    check_pooling(pool, reduction, backend)
    if as_losses(losses, valid)[0] is not losses:
        return None
    rows, _ = as_rows(losses, valid, by_image=pool == "image")
    options = (len(rows), pool == "world", backend, reduction)
    return max_pool.prepare(losses, valid, weighting, *options)


def pool_cross_entropy(
    input: Tensor,
    target: Tensor,
    weighting: WeightingSet,
    *,
    weight: Tensor | None,
    ignore_index: int | None,
    label_smoothing: float,
    pool: Pool,
    reduction: Reduction,
    backend: Backend,
    inplace_backward: bool = False,
) -> Tensor:
    """:func:`max_pooling_cross_entropy` for any weighting set."""
    ignored = NO_LABEL if ignore_index is None else ignore_index
    options = (label_smoothing, weighting, pool, reduction, backend, inplace_backward)
    if runs_directly(input, target, weight):
        call = _prepared(input, target, weight, ignored, *options)
        if call is not None:
            if inplace_backward:
                refuse_overwriting_leaf(input)
            return cross_entropy.directly(call, input, target, weight)
    check_pooling(pool, reduction, backend)
    if weight is not None:
        check_tensor("weight", weight)
    check_logits(input, weight, by_image=pool == "image")
    check_tensor("target", target)
    if inplace_backward:
        refuse_overwriting_leaf(input)
    if holds_probabilities(input, target):
        if inplace_backward:
            raise ValueError(
                "inplace_backward=True needs class ids, got probabilities: leave it out."
            )
        losses = _cross_entropy_of_probabilities(input, target, weight, label_smoothing, backend)
        return pool_losses(losses, None, weighting, pool=pool, reduction=reduction, backend=backend)
    target = class_ids(input, target, ignored)
    if input.dim() == 2:  # a view: one image of N pixels
        input, target = input.t().unsqueeze(0), target.unsqueeze(0)
    return cross_entropy.max_pooling_cross_entropy(
        input,
        target,
        weight,
        ignored,
        float(label_smoothing),
        weighting,
        pools=input.shape[0] if pool == "image" else 1,
        world=pool == "world",
        backend=backend,
        reduction=reduction,
        overwrite=inplace_backward,
    )


@by_form(tensors=3)
def _prepared(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignored: int,
    label_smoothing: float,
    weighting: WeightingSet,
    pool: Pool,
    reduction: Reduction,
    backend: Backend,
    overwrite: bool,
) -> cross_entropy.Direct | None:
    """The checks and the call for class ids as they are; None for what has to be converted."""
    if input.dim() < 3 or target.dim() != input.dim() - 1 or target.is_floating_point():
        return None
    check_pooling(pool, reduction, backend)
    check_logits(input, weight, by_image=pool == "image")
    if class_ids(input, target, ignored) is not target:
        return None
    pools, world = input.shape[0] if pool == "image" else 1, pool == "world"
    numbers = (ignored, float(label_smoothing), weighting)
    return cross_entropy.prepare(
        input, target, weight, *numbers, pools, world, backend, reduction, overwrite
    )


@torch.no_grad()
def pixel_cross_entropy(
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None,
    ignore_index: int | None,
    label_smoothing: float,
    backend: Backend,
) -> tuple[Tensor, Tensor]:
    """The (B, *spatial) losses that :func:`pool_cross_entropy` pools, and the mask of the valid.

    Not differentiable. (N, C) logits give (N,) losses.
    """
    check_logits(input, weight, by_image=False)
    check_tensor("target", target)
    if holds_probabilities(input, target):
        losses = _cross_entropy_of_probabilities(input, target, weight, label_smoothing, backend)
        return losses, torch.ones_like(losses, dtype=torch.bool)
    ignored = NO_LABEL if ignore_index is None else ignore_index
    target = class_ids(input, target, ignored)
    flat = input.dim() == 2
    if flat:
        input, target = input.t().unsqueeze(0), target.unsqueeze(0)
    run = kernels(choose(input, target, backend))
    losses = run.pixel_losses(input, target, weight, ignored, float(label_smoothing))
    if flat:
        losses = losses.squeeze(0)
    valid = ~(losses < 0)  # a NaN counts as valid
    return losses.masked_fill(~valid, 0), valid


def _cross_entropy_of_probabilities(
    input: Tensor, target: Tensor, weight: Tensor | None, label_smoothing: float, backend: Backend
) -> Tensor:
    check_probabilities(input, target)
    choose(input, target, backend)  # rejects a backend without a kernel for probabilities
    wide = input if input.dtype in (torch.float32, torch.float64) else input.float()
    return F.cross_entropy(
        upsample_to(wide, target.shape[2:]),
        target.to(wide.dtype),
        weight=None if weight is None else weight.to(wide.dtype),
        reduction="none",
        label_smoothing=label_smoothing,
    )


def check_pooling(pool: Pool, reduction: Reduction, backend: Backend) -> None:
    """Reject unknown names."""
    check_choice("pool", pool, _POOLS)
    check_choice("reduction", reduction, _REDUCTIONS)
    check_backend(backend)


def _duality_gap(
    losses: Tensor, weights: Tensor, threshold: Threshold, gamma: Tensor, q: float, over: Ranks
) -> Tensor:
    """``g(lambda*) - w* . l`` (Rota Bulò et al. 2017, Eq. 7), both sums in float64, (B,)."""
    wide_losses = losses.to(threshold.alpha.dtype)
    primal = over.sum((weights.to(wide_losses.dtype) * wide_losses).sum(1))
    alpha = threshold.alpha.unsqueeze(1)
    reach = torch.minimum(wide_losses, alpha)  # l - lambda*
    top = over.max(reach.amax(1) if losses.shape[1] else torch.zeros_like(gamma))
    safe = torch.where(top > 0, top, torch.ones_like(top))
    norm = top
    if not math.isinf(q):
        mass = over.sum(relative_power(reach.clamp(min=0), safe.unsqueeze(1), q).sum(1))
        norm = top * mass ** (1 / q)
    excess = over.sum((wide_losses - alpha).clamp(min=0).sum(1))
    dual = threshold.cap * excess + gamma * norm
    return dual - primal
