"""OHEMCrossEntropyLoss: pixels below a probability, but at least so many of the batch."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossmaxpool import OHEMCrossEntropyLoss
from tests.cases import IGNORE, labeled
from tests.reference import assert_agree, value_and_gradient
from tests.tolerances import FLOAT32


def as_practiced(
    logits: Tensor,
    target: Tensor,
    threshold: float = 0.7,
    min_kept: int = 100_000,
    weight: Tensor | None = None,
) -> Tensor:
    """The rule of HRNet and PIDNet: sort, look the larger threshold up, select, average."""
    valid = target.flatten() != IGNORE
    scores = F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=False)
    labels = target.masked_fill(target == IGNORE, 0)
    true = scores.softmax(1).gather(1, labels.unsqueeze(1)).flatten()[valid]
    losses = F.cross_entropy(scores, labels, weight=weight, reduction="none").flatten()[valid]
    ranked = true.detach().sort().values
    bound = max(float(ranked[min(min_kept, len(ranked) - 1)]), threshold)
    return losses[true < bound].mean()


@pytest.mark.parametrize("threshold", [0.1, 0.7, 0.9])
@pytest.mark.parametrize("min_kept", [1, 20, 300])
def test_the_rule_of_segmentation_code(threshold: float, min_kept: int) -> None:
    inputs = labeled(2, 5, 16, 18, ignored=0.2)
    ours = OHEMCrossEntropyLoss(threshold, min_kept, ignore_index=IGNORE)
    assert_agree(ours, lambda x, y: as_practiced(x, y, threshold, min_kept), inputs, FLOAT32)


def test_weights_scale_the_kept_losses_and_do_not_choose_them() -> None:
    inputs = labeled(2, 5, 16, 18, ignored=0.2)
    weight = torch.tensor([1.0, 0.1, 5.0, 2.0, 0.0])
    ours = OHEMCrossEntropyLoss(0.2, 50, ignore_index=IGNORE, weight=weight)
    assert_agree(ours, lambda x, y: as_practiced(x, y, 0.2, 50, weight), inputs, FLOAT32)


def test_logits_of_lower_resolution_are_upsampled() -> None:
    logits = labeled(2, 5, 4, 5)[0]
    target = labeled(2, 5, 16, 18, ignored=0.2)[1]
    ours = OHEMCrossEntropyLoss(0.7, 50, ignore_index=IGNORE)
    assert_agree(ours, lambda x, y: as_practiced(x, y, 0.7, 50), (logits, target), FLOAT32)


def test_a_batch_of_fewer_pixels_keeps_all_of_them() -> None:
    ours = OHEMCrossEntropyLoss(ignore_index=IGNORE)

    def mean(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(x, y, ignore_index=IGNORE)

    assert_agree(ours, mean, labeled(2, 5, 9, 11, ignored=0.3), FLOAT32)


def test_pixels_are_counted_over_the_batch_and_not_per_image() -> None:
    logits, target = labeled(2, 5, 8, 8)
    logits[0].scatter_add_(0, target[:1], torch.full((1, 8, 8), -30.0))  # all hard pixels
    _, gradient = value_and_gradient(OHEMCrossEntropyLoss(1e-30, 32), logits, target)
    trained = gradient.abs().sum(1) > 0
    assert int(trained.sum()) == 32
    assert not trained[1].any()


def test_easy_pixels_get_no_gradient() -> None:
    logits, target = labeled(2, 5, 8, 8)
    _, gradient = value_and_gradient(OHEMCrossEntropyLoss(0.5, 1), logits, target)
    true = logits.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)
    assert torch.equal(gradient.abs().sum(1) > 0, true < 0.5)


def test_confident_everywhere_is_zero_and_not_the_mean_of_nothing() -> None:
    """Every probability is 1: a strict comparison with the sorted ones keeps no pixel."""
    target = torch.randint(0, 3, (1, 8, 8))
    logits = 100.0 * F.one_hot(target, 3).permute(0, 3, 1, 2)
    value, gradient = value_and_gradient(OHEMCrossEntropyLoss(0.7, 16), logits, target)
    assert value == 0
    assert not gradient.isnan().any()


@pytest.mark.parametrize("shape", [(2, 4, 4), (0, 4, 4)])
def test_no_valid_pixel_is_zero_with_a_zero_gradient(shape: tuple[int, ...]) -> None:
    logits = torch.randn(shape[0], 3, *shape[1:])
    logits[:, 1] = torch.nan
    criterion = OHEMCrossEntropyLoss(ignore_index=IGNORE)
    value, gradient = value_and_gradient(criterion, logits, torch.full(shape, IGNORE))
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(logits))


def test_nan_comes_out_as_nan() -> None:
    logits, target = labeled(1, 3, 8, 8)
    logits[0, :, 3, 3] = torch.nan  # compares as an easy pixel
    assert OHEMCrossEntropyLoss(0.7, 8)(logits, target).isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, target = labeled(2, 5, 9, 11)
    half = logits.to(dtype)
    criterion = OHEMCrossEntropyLoss(0.7, 30)
    value, gradient = value_and_gradient(criterion, half, target)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert float(value) == pytest.approx(float(criterion(half.float(), target)), rel=FLOAT32)


def test_it_compiles_in_one_piece(fresh_compiler: None) -> None:
    logits, target = labeled(2, 5, 9, 11, ignored=0.2)
    criterion = OHEMCrossEntropyLoss(0.7, 30, ignore_index=IGNORE)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    assert float(compiled(logits, target)) == pytest.approx(
        float(criterion(logits, target)), rel=FLOAT32
    )


def test_its_weight_is_in_the_state() -> None:
    criterion = OHEMCrossEntropyLoss(weight=[1, 2, 3])
    other = OHEMCrossEntropyLoss(weight=[1, 1, 1])
    other.load_state_dict(criterion.state_dict())
    assert other.weight is not None
    assert other.weight.tolist() == [1, 2, 3]


@pytest.mark.parametrize("threshold", [0, -0.1, 1.5, math.nan, "0.7", None])
def test_a_threshold_that_is_no_probability(threshold: object) -> None:
    with pytest.raises(ValueError, match=r"threshold must be a probability in \(0, 1\], got"):
        OHEMCrossEntropyLoss(threshold)  # type: ignore[arg-type]


@pytest.mark.parametrize("min_kept", [0, -1, 0.25, 100.0, True, None])
def test_a_number_of_pixels_that_is_none(min_kept: object) -> None:
    with pytest.raises(ValueError, match="min_kept must be a number of pixels, an integer >= 1"):
        OHEMCrossEntropyLoss(0.7, min_kept)  # type: ignore[arg-type]


def test_labels_that_are_no_classes_are_named() -> None:
    logits, target = labeled(1, 3, 4, 4)
    target[0, 0, 0] = 255
    with pytest.raises(ValueError, match=r"1 labels outside \[0, 3\): \[255\]"):
        OHEMCrossEntropyLoss()(logits, target)


def test_probabilities_have_no_true_class() -> None:
    logits, _ = labeled(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"mining needs the true class .* target.argmax\(1\)"):
        OHEMCrossEntropyLoss()(logits, logits.softmax(1))


def test_weights_of_another_number_of_classes() -> None:
    logits, target = labeled(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"weight has shape \(2,\), but the logits have 3"):
        OHEMCrossEntropyLoss(weight=[1, 2])(logits, target)
