"""From the values of all pools to one result, and the gradient back to every pool."""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

from lossmaxpool.ops.backends.threshold import NUM_VALID

# Up to this many pools, Python adds up their numbers faster than torch does.
FEW = 64

# The divisor of a sum over pools: the number of pools with a valid pixel for a mean, 1 for a
# sum; None if the result is not reduced.
Divisor = Tensor | int | None


def reduce_pools(packed: Tensor, dtype: torch.dtype, reduction: str) -> tuple[Tensor, Divisor]:
    """Round the values of (6, R) thresholds to ``dtype`` and reduce them.

    Args:
        packed: (6, R) thresholds.
        dtype: of the result.
        reduction: "none", "sum", or "mean" over the pools that have a valid pixel.

    Returns:
        A scalar, or (R,) for reduction "none"; and the divisor.
    """
    if packed.is_cpu and packed.shape[1] <= FEW:
        numbers = packed.tolist()
        if reduction == "none":
            return torch.tensor(numbers[0], dtype=dtype), None
        values = array("f", numbers[0]) if dtype == torch.float32 else numbers[0]
        divisor = _occupied(numbers[NUM_VALID]) if reduction == "mean" else 1
        return torch.tensor(sum(values) / divisor, dtype=dtype), divisor
    by, value = divisor_of(packed, reduction), packed[0].to(dtype, copy=True)
    if by is None:
        return value, None
    # In the wide dtype, as above and as in the kernels: the sum of a few is exact in any order.
    return (value.sum(dtype=packed.dtype) / by).to(dtype), by


def count_pools(packed: Tensor, reduction: str) -> Divisor:
    """The divisor of :func:`reduce_pools`: :func:`divisor_of`, in Python if there are few pools."""
    if reduction == "mean" and packed.is_cpu and 1 < packed.shape[1] <= FEW:
        return _occupied(packed.tolist()[NUM_VALID])
    return divisor_of(packed, reduction)


def _occupied(valid: list[float]) -> int:
    return max(sum(n > 0 for n in valid), 1)


def result_shape(pools: int, reduction: str) -> tuple[int, ...]:
    """The shape of the result for R pools."""
    return (pools,) if reduction == "none" else ()


def reduce_each(packed: Tensor, dtype: torch.dtype, reduction: str) -> Tensor:
    """Reduce each of the S samples of (6, S, R) thresholds, as :func:`reduce_pools` would."""
    return torch.stack([reduce_pools(one, dtype, reduction)[0] for one in packed.unbind(1)])


def divisor_of(packed: Tensor, reduction: str) -> Divisor:
    """The divisor by torch operations alone, which compilers and transforms can follow."""
    if reduction == "none":
        return None
    if reduction == "sum" or packed.shape[1] <= 1:
        return 1
    pools: Tensor = (packed[NUM_VALID] > 0).sum().clamp(min=1)
    return pools


def spread(grad: Tensor, divisor: Divisor, pools: int, ranks: int) -> Tensor:
    """The gradient of the result -> (R,) gradient of the values.

    Gradients are averaged over ranks afterwards: scale them, so that the mean is their sum.
    """
    if ranks > 1:
        grad = grad * ranks
    if divisor is None:
        return grad
    if grad.is_cpu and isinstance(divisor, int) and not torch.is_grad_enabled():
        return torch.full((pools,), grad.item() / divisor, dtype=grad.dtype)  # the same bits
    return (grad / divisor).expand(pools)


def scale_rows(weights: Tensor, grad: Tensor, packed: Tensor, reduction: str) -> None:
    """Multiply (R, N) weights in place by the gradient of each pool's value.

    ``grad`` is the gradient of the reduced value. Nothing is recorded for autograd.
    """
    divisor = count_pools(packed, reduction)
    if grad.is_cpu and isinstance(divisor, int):
        weights.mul_(grad.item() / divisor)  # the same bits as with a tensor
    else:
        weights.mul_(spread(grad, divisor, packed.shape[1], 1).unsqueeze(1))


def holds_nan(value: Tensor) -> bool:
    """Whether a small CPU tensor contains NaN; in Python, which is cheaper than by torch."""
    numbers = value.tolist()
    return any(x != x for x in (numbers if isinstance(numbers, list) else [numbers]))
