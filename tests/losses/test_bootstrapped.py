"""BootstrappedCrossEntropyLoss: the mean of the k highest losses of every image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import BootstrappedCrossEntropyLoss, MaxPoolingCrossEntropyLoss
from tests.cases import IGNORE, labeled
from tests.reference import assert_agree, assert_near, pooled, value_and_gradient
from tests.tolerances import SOLVER

LOSS = SOLVER[torch.float32]


def pixel_losses(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="none", ignore_index=IGNORE)


@pytest.mark.parametrize("k", [1, 2, 50, 98, 99, 100, 512])
def test_the_mean_of_the_k_highest_losses(k: int) -> None:
    def top_k(logits: Tensor, target: Tensor) -> Tensor:
        losses = pixel_losses(logits, target).flatten(1)
        return losses.topk(min(k, losses.shape[1]), 1).values.mean(1).mean()

    assert_agree(BootstrappedCrossEntropyLoss(k), top_k, labeled(2, 5, 9, 11), LOSS)


@pytest.mark.parametrize("k", [1, 50, 512])
def test_it_is_max_pooling_at_p_1(k: int) -> None:
    def truth(logits: Tensor, target: Tensor) -> Tensor:
        losses, exists = pixel_losses(logits, target), target != IGNORE
        return pooled(losses, exists, p=1.0, min_support=0.0, least=k).mean()

    criterion = BootstrappedCrossEntropyLoss(k, ignore_index=IGNORE)
    assert_agree(criterion, truth, labeled(2, 5, 9, 11, ignored=0.3), LOSS)


def test_an_image_with_fewer_valid_pixels_uses_all_of_them() -> None:
    logits, target = labeled(2, 5, 9, 11)
    target[0, 1:] = IGNORE
    criterion = BootstrappedCrossEntropyLoss(40, ignore_index=IGNORE, reduction="none")
    few = F.cross_entropy(logits[:1], target[:1], ignore_index=IGNORE)
    torch.testing.assert_close(criterion(logits, target)[0], few, rtol=LOSS, atol=0)


def test_ties_at_the_last_place_share_its_weight() -> None:
    logits = torch.zeros(1, 3, 2, 5)
    target = torch.zeros(1, 2, 5, dtype=torch.long)
    logits[0, 1, 0, 0] = 3.0  # one hard pixel, nine alike
    _, gradient = value_and_gradient(BootstrappedCrossEntropyLoss(4), logits, target)
    of_ties = gradient[0, 0].flatten()[1:]
    assert (of_ties == of_ties[0]).all()
    assert_near(of_ties.sum(), torch.tensor(-(1 - 1 / 3) * 3 / 4), LOSS)


def test_over_the_batch_k_is_for_all_images() -> None:
    def top_k(logits: Tensor, target: Tensor) -> Tensor:
        return pixel_losses(logits, target).flatten().topk(30).values.mean()

    ours = BootstrappedCrossEntropyLoss(30, pool="batch")
    assert_agree(ours, top_k, labeled(2, 5, 9, 11), LOSS)


def test_it_reads_what_cross_entropy_reads() -> None:
    """Weights, smoothing, low resolution: the pixel losses are the same ones."""
    logits, target = labeled(2, 5, 3, 4)[0], labeled(2, 5, 8, 8, ignored=0.2)[1]
    options = {"weight": [1, 2, 3, 4, 5], "label_smoothing": 0.1, "ignore_index": IGNORE}
    target[:, 0] = IGNORE
    ours = BootstrappedCrossEntropyLoss(1, **options)  # type: ignore[arg-type]
    hardest = MaxPoolingCrossEntropyLoss(p=1.0, min_support=1e-9, **options)  # type: ignore[arg-type]
    assert_agree(ours, hardest, (logits, target), 0.0)


@pytest.mark.parametrize("k", [0, -1, 2.0, 0.25, True, None, "512"])
def test_a_k_that_counts_no_pixels_is_refused(k: object) -> None:
    with pytest.raises(ValueError, match="k must be a number of pixels, an integer >= 1, got"):
        BootstrappedCrossEntropyLoss(k)  # type: ignore[arg-type]
