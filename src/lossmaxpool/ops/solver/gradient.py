"""The gradient of the pooled value with respect to the losses: w* (envelope theorem), once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossmaxpool.ops.solver.operators import pool, weigh
from lossmaxpool.ops.solver.ranks import ranks

SECOND_DERIVATIVE = (
    "loss max-pooling has no second derivative here: w* was differentiated with respect "
    "to the losses (create_graph=True, gradgradcheck, a Hessian or a gradient penalty "
    "through this loss). Hold the weights fixed instead: "
    "(solve(losses).weights * losses).sum() is differentiable as often as the losses are."
)


class MaxPool(torch.autograd.Function):
    """(B, N) losses -> (B,) values, (6, B) packed threshold; the latter is a constant.

    Only the losses are kept for the backward pass: w* is recomputed from them, elementwise.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        losses: Tensor,
        valid: Tensor | None,
        p: float,
        fraction: float,
        least: float,
        world: bool,
        backend: str,
    ) -> tuple[Tensor, Tensor]:
        value, packed = pool(losses, valid, p, fraction, least, world, backend)
        return value, packed

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        losses, valid, p, fraction, least, world, backend = inputs
        packed = output[1]
        ctx.mark_non_differentiable(packed)
        ctx.save_for_backward(losses, valid, packed)
        ctx.options = (p, fraction, least, backend)
        # Gradients are averaged over ranks afterwards: the sum over ranks is the true one.
        ctx.scale = ranks(world).size

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        losses, valid, packed = ctx.saved_tensors
        weights = _Weigh.apply(losses, valid, packed, *ctx.options)
        return weights * (grad_value * ctx.scale).unsqueeze(1), *[None] * 6


class _Weigh(torch.autograd.Function):
    """w*, which nothing may differentiate: silence would be a wrong second derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        losses: Tensor,
        valid: Tensor | None,
        packed: Tensor,
        p: float,
        fraction: float,
        least: float,
        backend: str,
    ) -> Tensor:
        weights: Tensor = weigh(losses, valid, packed, p, fraction, least, backend)
        return weights

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept: there is nothing to compute from it."""

    @staticmethod
    def backward(ctx: Any, grad_weights: Tensor) -> tuple[None, ...]:
        raise NotImplementedError(SECOND_DERIVATIVE)
