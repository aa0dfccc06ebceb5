"""Known defects of public implementations of hard mining, each as a test of this package.

The projects are mpl.pytorch (loss max-pooling), the pixel sampler of older OpenVINO training
extensions (OTX, loss max-pooling as well), segmentation_models_pytorch (SMP), mmsegmentation,
nnU-Net, MONAI, kornia, detectron2 and seamseg.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import (
    BootstrappedCrossEntropyLoss,
    MaxPoolingCrossEntropyLoss,
    MaxPoolingLoss,
    loss_max_pool,
)
from lossmaxpool.paper import weighting_set
from tests.cases import IGNORE, LOSS_FAMILIES, P_VALUES, labeled, padded
from tests.reference import Criterion, assert_agree, assert_near, pooled, value_and_gradient
from tests.tolerances import FEASIBLE, FROM_LOGITS, PADDING, SOLVER

LOSS = SOLVER[torch.float32]
HARDEST = 100


def confident_logits(zeros: float) -> tuple[Tensor, Tensor]:
    """Two classes, 10^4 pixels: a share has loss 0 in float32; the last HARDEST are wrong."""
    n = 10_000
    margin = torch.full((1, 1, n), 1.5)
    margin[..., : int(zeros * n)] = 40.0
    margin[..., -HARDEST:] = torch.linspace(-4.0, -8.0, HARDEST)
    return torch.cat([margin, torch.zeros_like(margin)], 1), torch.zeros(1, n, dtype=torch.long)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="none", ignore_index=IGNORE)


# Weights, in particular of the largest losses


@pytest.mark.parametrize("zeros", [0.05, 0.25, 0.9])
def test_exact_zeros_do_not_hide_the_largest_losses(zeros: float) -> None:
    """mpl.pytorch: where losses are exactly 0, the largest ones are never visited.

    With 5 % zeros the hardest pixels have weight 0, with 25 % the loss collapses to 0, as its users
    report.
    """
    logits, target = confident_logits(zeros)
    assert (cross_entropy(logits, target) == 0).float().mean() == pytest.approx(zeros)
    criterion = MaxPoolingCrossEntropyLoss()
    assert_agree(criterion, lambda x, y: pooled(cross_entropy(x, y)).mean(), (logits, target), LOSS)
    _, gradient = value_and_gradient(criterion, logits, target)
    hardest = gradient[0, 0, -HARDEST:].abs()
    assert hardest.min() > gradient[0, 0, :-HARDEST].abs().max()


@pytest.mark.parametrize("p", P_VALUES)
def test_losses_that_are_all_zero(p: float) -> None:
    """mpl.pytorch: a batch with all losses 0 reads beyond its arrays."""
    logits = torch.zeros(2, 3, 5, 5)
    logits[:, 1] = 200.0
    value, gradient = value_and_gradient(
        MaxPoolingCrossEntropyLoss(p=p), logits, torch.ones(2, 5, 5, dtype=torch.long)
    )
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("p", P_VALUES)
@pytest.mark.parametrize("family", LOSS_FAMILIES)
def test_the_weights_are_feasible(family: str, p: float) -> None:
    """mpl.pytorch: a counter off by one; a weight of 1.54 tau, a p-norm of 1.28 gamma."""
    n = 500
    losses = torch.from_numpy(LOSS_FAMILIES[family](np.random.default_rng(0), n)).float()[None]
    _, weights = value_and_gradient(lambda x, _: loss_max_pool(x, p=p), losses, losses)
    room = FEASIBLE[torch.float32]
    assert weighting_set.contains(weights[0].double().numpy(), p, n / 4, rtol=room)


@pytest.mark.parametrize("p", [1.0, 1.3, float("inf")])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("min_support", [1e-9, 0.25])
def test_a_handful_of_pixels(n: int, p: float, min_support: float) -> None:
    """mpl.pytorch: the support is rounded down to 0 where pixels are few, and so is the loss."""
    logits, target = labeled(2, 5, n)
    ours = MaxPoolingCrossEntropyLoss(p=p, min_support=min_support)

    def truth(logits: Tensor, target: Tensor) -> Tensor:
        return pooled(cross_entropy(logits, target), p=p, min_support=min_support).mean()

    assert ours(logits, target) > 0
    assert_agree(ours, truth, (logits, target), LOSS)


def test_p_1_is_the_mean_of_the_hardest() -> None:
    """mpl.pytorch: p = 1 is refused."""
    logits, target = labeled(1, 5, 10, 10)
    hardest = cross_entropy(logits, target).flatten().topk(25).values
    value = MaxPoolingCrossEntropyLoss(p=1.0)(logits, target)
    torch.testing.assert_close(value, hardest.mean(), rtol=LOSS, atol=0)


def test_p_inf_is_the_mean() -> None:
    """mpl.pytorch: p = inf is NaN."""
    logits, target = labeled(2, 5, 10, 10)
    value = MaxPoolingCrossEntropyLoss(p=float("inf"))(logits, target)
    torch.testing.assert_close(value, F.cross_entropy(logits, target), rtol=LOSS, atol=0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("p", [1.1, 1.05, 1.01])
@pytest.mark.parametrize("family", ["trained_ce", "overfit_ce"])
def test_the_search_stops_at_the_threshold_whatever_the_scale(
    family: str, p: float, scale: float
) -> None:
    """OTX: the stop test compares with an absolute epsilon, which the powers of p near 1 undercut.

    The objective comes out 3.45 times too large at p = 1.1, 11 times at 1.05, 10^8 times at 1.01.
    """
    losses = scale * torch.from_numpy(LOSS_FAMILIES[family](np.random.default_rng(0), 5000))
    inputs = (losses.float()[None], losses.float()[None])
    ours = MaxPoolingLoss(lambda x, _: x, p=p)
    assert_agree(ours, lambda x, _: pooled(x, p=p).mean(), inputs, LOSS)


def test_harder_pixels_weigh_more() -> None:
    """mmsegmentation, once: online hard example mining that picked the easy pixels."""
    logits, target = labeled(1, 2, 400)
    _, gradient = value_and_gradient(MaxPoolingCrossEntropyLoss(), logits, target)
    order = cross_entropy(logits, target)[0].argsort()
    # With two classes, a pixel's gradient is its weight times 1 - exp(-loss): both increase.
    assert (gradient[0, 0].abs()[order].diff() >= -LOSS * gradient.abs().max()).all()


# Ignored pixels


@pytest.mark.parametrize("p", [1.0, 1.3, float("inf")])
def test_half_a_crop_of_padding_does_not_move_the_loss(p: float) -> None:
    """SMP, kornia, detectron2, nnU-Net, seamseg: ignored pixels stay in the denominator.

    The loss falls with the share of padding, to a half where half of the crop is.
    """
    inputs = labeled(2, 5, 16, 16)
    criterion = MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE)
    assert_near(criterion(*padded(*inputs, 16)), criterion(*inputs), PADDING)


@pytest.mark.parametrize("valid", [1, 2, 3])
def test_mining_a_share_of_almost_no_pixel(valid: int) -> None:
    """nnU-Net, detectron2: k = int(share * pixels) is 0, and the mean of nothing NaN."""
    logits, target = labeled(1, 5, 10, 10)
    target.view(-1)[valid:] = IGNORE
    share = MaxPoolingCrossEntropyLoss(p=1.0, min_support=0.01, ignore_index=IGNORE)
    hardest = cross_entropy(logits, target).max()
    torch.testing.assert_close(share(logits, target), hardest, rtol=LOSS, atol=0)
    count = BootstrappedCrossEntropyLoss(512, ignore_index=IGNORE)
    mean = F.cross_entropy(logits, target, ignore_index=IGNORE)
    torch.testing.assert_close(count(logits, target), mean, rtol=LOSS, atol=0)


@pytest.mark.parametrize("margin", [5.0, 50.0])
@pytest.mark.parametrize("p", P_VALUES)
def test_one_confident_valid_pixel(p: float, margin: float) -> None:
    """mmsegmentation: a single valid pixel above the confidence threshold is an IndexError."""
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 1] = margin
    target = torch.full((1, 4, 4), IGNORE)
    target[0, 2, 2] = 1
    value = MaxPoolingCrossEntropyLoss(p=p, ignore_index=IGNORE)(logits, target)
    torch.testing.assert_close(value, cross_entropy(logits, target)[0, 2, 2], rtol=LOSS, atol=0)


@pytest.mark.parametrize(
    "criterion",
    [
        MaxPoolingCrossEntropyLoss(ignore_index=IGNORE),
        BootstrappedCrossEntropyLoss(ignore_index=IGNORE),
    ],
    ids=["max-pooling", "bootstrapped"],
)
def test_a_batch_without_a_valid_pixel(criterion: Criterion) -> None:
    """mpl.pytorch reads out of bounds, OTX crashes the process, SMP is NaN (focal) or raises
    (Lovász), mmsegmentation returns a 0 that has no gradient.
    """
    value, gradient = value_and_gradient(
        criterion, torch.randn(2, 5, 4, 4), torch.full((2, 4, 4), IGNORE)
    )
    assert value == 0
    assert not gradient.any()


# Options and dtypes


def test_class_weights_as_a_list() -> None:
    """detectron2, nnU-Net, mmsegmentation: class weights from a configuration file crash."""
    inputs = labeled(2, 3, 6, 7)
    listed = MaxPoolingCrossEntropyLoss(weight=[1, 0.5, 2])
    tensor = MaxPoolingCrossEntropyLoss(weight=torch.tensor([1.0, 0.5, 2.0]))
    assert_agree(listed, tensor, inputs, 0.0)


def test_label_255_with_class_weights() -> None:
    """detectron2, nnU-Net, mmsegmentation: weights are looked up for ignored labels as well."""
    logits, target = labeled(2, 3, 6, 7, ignored=0.3)
    assert (target == 255).any()
    weight = torch.tensor([1.0, 0.5, 2.0])

    def truth(logits: Tensor, target: Tensor) -> Tensor:
        weighted = F.cross_entropy(logits, target, weight, ignore_index=255, reduction="none")
        return pooled(weighted, target != 255).mean()

    ours = MaxPoolingCrossEntropyLoss(weight=weight, ignore_index=255)
    assert_agree(ours, truth, (logits, target), LOSS)


def test_half_precision_logits_near_their_limit() -> None:
    """SMP: the loss of float16 logits overflows, although every logit is finite."""
    logits = torch.zeros(1, 2, 3, 3, dtype=torch.float16)
    logits[:, 0], logits[:, 1] = 60_000.0, -60_000.0
    target = torch.ones(1, 3, 3, dtype=torch.long)
    value, gradient = value_and_gradient(MaxPoolingCrossEntropyLoss(), logits, target)
    assert value == 120_000
    assert gradient.isfinite().all()


def test_the_defaults_work() -> None:
    """SMP: the default soft cross-entropy raises on its first batch."""
    value, gradient = value_and_gradient(MaxPoolingCrossEntropyLoss(), *labeled(2, 5, 6, 7))
    assert value > 0
    assert gradient.any()


def test_several_classes_compete() -> None:
    """SMP: the multiclass focal loss is one sigmoid per class, so a common shift changes it."""
    logits, target = labeled(2, 5, 6, 7)
    shift = 5 * torch.randn(2, 1, 6, 7)
    criterion = MaxPoolingCrossEntropyLoss()
    assert_agree(criterion, lambda x, y: criterion(x + shift, y), (logits, target), FROM_LOGITS)


def test_class_ids_are_names_and_not_numbers() -> None:
    """kornia: the Lovász loss gathers the ids themselves, so renaming classes changes it."""
    logits, target = labeled(2, 5, 6, 7)
    order = torch.tensor([3, 0, 4, 1, 2])
    criterion: Criterion = MaxPoolingCrossEntropyLoss()

    def renamed(logits: Tensor, target: Tensor) -> Tensor:
        return criterion(logits[:, order], order.argsort()[target])

    assert_agree(criterion, renamed, (logits, target), LOSS)


@pytest.mark.parametrize("build", [MaxPoolingCrossEntropyLoss, BootstrappedCrossEntropyLoss])
@pytest.mark.parametrize("shape", [(2, 5, 30), (2, 5, 6, 7), (2, 5, 3, 4, 5)], ids=str)
def test_a_used_loss_reloads(build: Any, shape: tuple[int, ...]) -> None:
    """MONAI: the focal loss reshapes its class weights when it is called, and its saved state no
    longer fits a new one.
    """
    used = build(weight=[1, 2, 3, 4, 5])
    inputs = labeled(*shape)
    used(*inputs)
    fresh = build(weight=[1, 1, 1, 1, 1])
    fresh.load_state_dict(used.state_dict())
    assert_agree(fresh, used, inputs, 0.0)


# Compilers and devices


@pytest.mark.usefixtures("fresh_compiler")
def test_one_graph() -> None:
    """mpl.pytorch, OTX, mmsegmentation: loops and lookups of the host break the graph."""
    criterion = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)
    compiled = torch.compile(criterion, fullgraph=True, backend="eager")
    assert_agree(compiled, criterion, labeled(2, 5, 6, 7, ignored=0.3), LOSS)


@pytest.mark.cuda
@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="whether the host waits shows on a CUDA device only"
)
@pytest.mark.parametrize("p", [1.0, 1.01, 1.3, float("inf")])
def test_the_host_does_not_wait(p: float, forbid_waiting: Callable[[], None]) -> None:
    """mpl.pytorch, OTX: losses are copied to the host twice and searched there in a loop."""
    logits, target = (x.cuda() for x in labeled(2, 19, 64, 64, ignored=0.3))
    criterion = MaxPoolingCrossEntropyLoss(p=p, weight=[1.0] * 19, ignore_index=IGNORE).cuda()
    value_and_gradient(criterion, logits, target)  # libraries load on the first call
    forbid_waiting()
    value_and_gradient(criterion, logits, target)
