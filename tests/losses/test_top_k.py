"""The top-k loss of nnU-Net and DeepLab is loss max-pooling at p = 1 over the batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import MaxPoolingCrossEntropyLoss
from tests.cases import IGNORE, labeled
from tests.reference import assert_agree
from tests.tolerances import SOLVER

LOSS = SOLVER[torch.float32]


def nnunet_top_k(logits: Tensor, target: Tensor, percent: float) -> Tensor:
    """``TopKLoss(k=percent)`` of nnU-Net: the mean of int(share of all pixels) largest losses."""
    losses = F.cross_entropy(logits, target, reduction="none").flatten()
    return losses.topk(int(losses.numel() * percent / 100), sorted=False).values.mean()


@pytest.mark.parametrize("percent", [10, 25, 100])
@pytest.mark.parametrize("shape", [(2, 5, 10, 20), (2, 3, 4, 10, 10)])
def test_equals_the_loss_of_nnunet(shape: tuple[int, ...], percent: int) -> None:
    ours = MaxPoolingCrossEntropyLoss(p=1, min_support=percent / 100, pool="batch")
    assert_agree(ours, lambda x, y: nnunet_top_k(x, y, percent), labeled(*shape), LOSS)


def test_a_share_of_no_whole_number_lies_between_its_neighbors() -> None:
    logits, target = labeled(1, 5, 9, 11)
    losses = F.cross_entropy(logits, target, reduction="none").flatten()
    below, above = (losses.topk(k).values.mean() for k in (9, 10))  # 10 % of 99 pixels are 9.9
    ours = MaxPoolingCrossEntropyLoss(p=1, min_support=0.1, pool="batch")(logits, target)
    assert above < ours < below


def test_ignored_pixels_are_no_part_of_the_share() -> None:
    logits, target = labeled(1, 5, 10, 20)
    target[:, 5:] = IGNORE
    ours = MaxPoolingCrossEntropyLoss(p=1, min_support=0.1, pool="batch", ignore_index=IGNORE)
    cut = (logits[:, :, :5].contiguous(), target[:, :5])
    truth = nnunet_top_k(*cut, 10)
    assert float(ours(logits, target)) == pytest.approx(float(truth), rel=LOSS)
