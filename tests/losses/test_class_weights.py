"""Class weights by effective number, as in ENet, and by the inverse square root."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool import (
    MaxPoolingCrossEntropyLoss,
    OHEMCrossEntropyLoss,
    effective_number_weights,
    enet_weights,
    inverse_sqrt_frequency_weights,
    median_frequency_weights,
)
from tests.cases import labeled
from tests.tolerances import (
    DEFAULT_BETA,
    FLOAT32,
    FLOAT64,
    GEOMETRIC_SUM,
    NEARLY_INVERSE,
    THREE_DIGITS,
)

Weights = Callable[[Tensor], Tensor]
EVERY: dict[str, Weights] = {
    "median frequency": median_frequency_weights,
    "effective number": effective_number_weights,
    "enet": enet_weights,
    "inverse square root": inverse_sqrt_frequency_weights,
}
COUNTS = [[500, 200, 0, 50, 7], [100, 100, 0, 30, 9]]
TOTALS = [600, 300, 0, 80, 16]


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.99, 0.999, 0.9999])
def test_effective_numbers_of_the_paper(beta: float) -> None:
    """Cui et al. 2019: E_n = sum of beta^0 to beta^(n-1); the weights add up to the classes."""
    inverse = [1 / sum(beta**i for i in range(n)) if n else 0.0 for n in TOTALS]
    expected = [4 * x / sum(inverse) for x in inverse]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # beta = 0 makes all weights equal
        ours = effective_number_weights(torch.tensor(COUNTS), beta=beta)
    assert ours.dtype == torch.float64
    assert ours.tolist() == pytest.approx(expected, rel=GEOMETRIC_SUM)


def test_the_default_beta_depends_on_the_shares_and_not_on_the_size_of_the_set() -> None:
    counts = 10**6 * torch.tensor(COUNTS)
    once, often = (effective_number_weights(k * counts) for k in (1, 1000))
    assert once.tolist() == pytest.approx(often.tolist(), rel=DEFAULT_BETA)
    assert once[4] > 2 * once[0]


def test_a_beta_under_which_all_weights_are_equal_is_pointed_out() -> None:
    counts = torch.tensor([[10**8, 10**7, 10**6]])
    with pytest.warns(UserWarning, match="beta=0.9999 makes the weights of all classes equal"):
        weights = effective_number_weights(counts, beta=0.9999)
    assert weights.tolist() == pytest.approx([1.0, 1.0, 1.0])
    near = effective_number_weights(counts, beta=1 - 1e-9)
    assert near[2] / near[0] == pytest.approx(100, rel=NEARLY_INVERSE)


def test_weights_of_enet() -> None:
    """Paszke et al. 2016: 1 / ln(1.02 + share)."""
    expected = [1 / math.log(1.02 + n / 996) if n else 0.0 for n in TOTALS]
    assert enet_weights(torch.tensor(COUNTS)).tolist() == pytest.approx(expected, rel=FLOAT64)
    assert enet_weights(torch.tensor([[10**9, 1]])).tolist() == pytest.approx(
        [1.42, 50.5], rel=THREE_DIGITS
    )


def test_inverse_square_roots() -> None:
    ours = inverse_sqrt_frequency_weights(torch.tensor(COUNTS))
    roots = [n**-0.5 if n else 0.0 for n in TOTALS]
    assert (ours / ours[0]).tolist() == pytest.approx([r / roots[0] for r in roots], rel=FLOAT64)
    assert float((ours * torch.tensor(TOTALS)).sum() / 996) == pytest.approx(1.0, rel=FLOAT64)


@pytest.mark.parametrize("name", EVERY)
def test_rarer_classes_weigh_more_and_absent_ones_nothing(name: str) -> None:
    weights = EVERY[name](torch.tensor([[500, 200, 0, 50, 7]]))
    assert weights[0] < weights[1] < weights[3] < weights[4]
    assert weights[2] == 0


@pytest.mark.parametrize("name", EVERY)
def test_usable_with_cross_entropy_max_pooling_and_mining(name: str) -> None:
    logits, target = labeled(2, 5, 9, 11)
    counts = torch.stack([image.flatten().bincount(minlength=5) for image in target])
    weights = EVERY[name](counts)
    losses = F.cross_entropy(logits, target, weight=weights.float(), reduction="none")
    plain = nn.CrossEntropyLoss(weight=weights.float())(logits, target)
    pooled = MaxPoolingCrossEntropyLoss(p=math.inf, weight=weights, pool="batch")(logits, target)
    mined = OHEMCrossEntropyLoss(weight=weights)(logits, target)
    mean = float(losses.mean())
    assert float(pooled) == pytest.approx(mean, rel=FLOAT32)
    assert float(mined) == pytest.approx(mean, rel=FLOAT32)
    total = float(weights[target].mean())  # torch divides by it
    assert float(plain) * total == pytest.approx(mean, rel=FLOAT32)
    assert MaxPoolingCrossEntropyLoss(weight=weights, pool="batch")(logits, target) > pooled


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        (torch.ones(2, 3), TypeError, "integer counts, got torch.float32: pass pixels per image"),
        (torch.ones(3).long(), ValueError, r"must be \(num_images, C\), got shape \(3,\)"),
        (torch.tensor([[3, -1]]), ValueError, "holds negative counts"),
        (torch.zeros(2, 3).long(), ValueError, "no pixel of any class: is everything ignored"),
        ([[1, 2], [3]], TypeError, "got list: pass a tensor, an array or equally long lists"),
    ],
)
def test_bad_counts_are_refused(
    name: str, counts: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        EVERY[name](counts)


@pytest.mark.parametrize("beta", [1, 1.0, -0.1, math.nan, "0.99"])
def test_a_beta_outside_its_range(beta: float) -> None:
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\), got"):
        effective_number_weights(torch.tensor(COUNTS), beta=beta)


@pytest.mark.parametrize("c", [1, 0.5, math.inf, math.nan, None])
def test_a_constant_outside_its_range(c: float) -> None:
    with pytest.raises(ValueError, match=r"c must be a number above 1, got .* choice is 1\.02"):
        enet_weights(torch.tensor(COUNTS), c=c)
