"""MaxPoolingLoss: the oracle's pooling of any callable's losses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossmaxpool import MaxPoolingCrossEntropyLoss, MaxPoolingLoss, loss_max_pool
from tests.cases import IGNORE, binary, labeled
from tests.reference import assert_agree, pooled
from tests.tolerances import FROM_LOGITS, SOLVER

LOSS = SOLVER[torch.float32]


def endpoint_error(flow: Tensor, target: Tensor) -> Tensor:
    """(B, 2, H, W) vectors -> (B, H, W) distances."""
    return (flow - target).square().sum(1).sqrt()


@pytest.mark.parametrize("p", [1.0, 1.3, float("inf")])
@pytest.mark.parametrize(
    "pixel_loss",
    [
        nn.SmoothL1Loss(reduction="none"),
        nn.MSELoss(reduction="none"),
        lambda scores, target: (scores - target).abs(),
    ],
    ids=["module", "another", "function"],
)
def test_regression(pixel_loss: nn.Module, p: float) -> None:
    scores, target = binary(2, 9, 11)
    ours = MaxPoolingLoss(pixel_loss, p=p)
    assert_agree(
        ours, lambda x, y: pooled(pixel_loss(x, y), p=p).mean(), (scores, target.float()), LOSS
    )


def test_the_losses_may_have_fewer_dimensions_than_the_input() -> None:
    flow, target = torch.randn(2, 2, 2, 9, 11, generator=torch.Generator().manual_seed(0))
    assert_agree(
        MaxPoolingLoss(endpoint_error),
        lambda x, y: pooled(endpoint_error(x, y)).mean(),
        (flow, target),
        LOSS,
    )


def test_cross_entropy_is_one_of_them() -> None:
    general = MaxPoolingLoss(
        nn.CrossEntropyLoss(reduction="none", ignore_index=IGNORE), ignore_index=IGNORE
    )
    special = MaxPoolingCrossEntropyLoss(ignore_index=IGNORE)
    assert_agree(general, special, labeled(2, 5, 9, 11, ignored=0.3), FROM_LOGITS)


@pytest.mark.parametrize("missing", [-1, 0])
def test_target_values_that_mark_missing_pixels(missing: int) -> None:
    scores, target = binary(2, 9, 11)
    depth = 1.0 + target
    depth[:, :4] = missing

    def truth(scores: Tensor, depth: Tensor) -> Tensor:
        losses = F.smooth_l1_loss(scores, depth, reduction="none")
        return pooled(losses, depth != missing).mean()

    ours = MaxPoolingLoss(nn.SmoothL1Loss(reduction="none"), ignore_index=missing)
    assert_agree(ours, truth, (scores, depth), LOSS)


def test_an_ignore_index_beyond_the_dtype_marks_nothing() -> None:
    scores, target = binary(2, 9, 11)
    target[:, 0] = 255
    distance = MaxPoolingLoss(lambda x, y: (x - y.float()).abs(), ignore_index=-1)
    assert distance(scores, target.to(torch.uint8)) == distance(scores, target)


def test_one_loss_per_image_is_enough() -> None:
    losses = torch.tensor([0.5, 2.0, 4.0])
    ours = MaxPoolingLoss(lambda x, _: x, pool="batch", p=1.0, min_support=0.6)
    assert ours(losses, losses) == loss_max_pool(losses, pool="batch", p=1.0, min_support=0.6)


def test_a_scalar_loss_is_refused() -> None:
    with pytest.raises(ValueError, match=r"returned a scalar.*one loss per pixel.*reduction"):
        MaxPoolingLoss(nn.MSELoss())(*binary(2, 9, 11))


def test_a_target_of_another_shape_than_the_losses_is_refused() -> None:
    flow = torch.zeros(2, 2, 9, 11)
    criterion = MaxPoolingLoss(endpoint_error, ignore_index=IGNORE)
    with pytest.raises(ValueError, match=r"valid has shape \(2, 2, 9, 11\), losses \(2, 9, 11\)"):
        criterion(flow, flow)


def test_negative_losses_are_refused_with_their_place() -> None:
    losses = torch.ones(2, 9, 11)
    losses[1, 0, 3] = -0.5
    message = r"1 negative among 198 losses: -0.5 at image 1, pixel 3.*shift it to be non-negative"
    with pytest.raises(ValueError, match=message):
        MaxPoolingLoss(lambda x, _: x)(losses, losses)


def test_integer_losses_are_refused() -> None:
    counts = torch.ones(2, 9, 11, dtype=torch.long)
    with pytest.raises(TypeError, match=r"losses must be floating, got torch\.int64"):
        MaxPoolingLoss(lambda x, _: x)(counts, counts)


def test_a_pixel_loss_may_come_from_a_configuration() -> None:
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(MaxPoolingLoss, "loss")
    pixel_loss = {"class_path": "torch.nn.SmoothL1Loss", "init_args": {"reduction": "none"}}
    config = parser.parse_object({"loss": {"pixel_loss": pixel_loss, "p": 1.7}})
    criterion = parser.instantiate(config).loss
    assert isinstance(criterion.pixel_loss, nn.SmoothL1Loss)
    assert criterion.p == 1.7
